//! Who a request is from: derived from the key, never believed from headers.

use crate::refusal::Refusal;
use crate::rules::Rules;
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap, HashSet};

/// This gate's name.
pub const GATE: &str = "identity";
/// The consumer that key-auth found.
pub const CONSUMER: &str = "x-mse-consumer";
/// What steers the gateway's own routing; on the gateway's own redirect it is not a client that says it.
const STEERING: &str = "x-higress-";

/// What no client may send, whatever the config says.
const ALWAYS: [&str; 1] = [CONSUMER];
const ALWAYS_PREFIXES: [&str; 3] = ["x-dev-", "x-higress-", "x-hi-"];

/// The config of one of the two places where the guard stands.
#[derive(Debug)]
pub enum Identity {
    /// Before key-auth.
    Entrance(Entrance),
    /// After it.
    Assign(Box<Rules<Table>>),
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum StageName {
    Entrance,
    Assign,
}

#[derive(Deserialize)]
struct Stage {
    stage: StageName,
}

impl Identity {
    /// Reads the config.
    ///
    /// # Errors
    /// In words, when it cannot be obeyed.
    pub fn parse(config: &[u8]) -> Result<Self, String> {
        let Stage { stage } = serde_json::from_slice(config).map_err(|error| error.to_string())?;
        match stage {
            StageName::Entrance => {
                let entrance: Entrance = serde_json::from_slice(config).map_err(|error| error.to_string())?;
                Ok(Identity::Entrance(entrance))
            }
            StageName::Assign => {
                let rules: Rules<TableConfig> = Rules::parse(config, &["stage"])?;
                Ok(Identity::Assign(Box::new(rules.try_map(Table::new)?)))
            }
        }
    }
}

/// What is taken off a request before anybody looks at it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entrance {
    #[serde(rename = "stage")]
    _stage: String,
    #[serde(default)]
    strip: HashSet<String>,
    #[serde(default)]
    strip_prefixes: Vec<String>,
}

impl Entrance {
    /// Whether a client has no business sending this header. Underscores count as dashes: some servers read them so.
    /// `redirected`: the gateway itself sent the request back to the start, and its steering headers stay.
    pub fn forged(&self, name: &str, redirected: impl FnOnce() -> bool) -> bool {
        let name = name.to_ascii_lowercase().replace('_', "-");
        if name.starts_with(STEERING) && redirected() {
            return false;
        }
        let fixed =
            ALWAYS.contains(&name.as_str()) || ALWAYS_PREFIXES.iter().any(|start| name.starts_with(start));
        fixed
            || self.strip.contains(&name)
            || self
                .strip_prefixes
                .iter()
                .any(|start| name.starts_with(start.as_str()))
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TableConfig {
    org: String,
    project: String,
    groups: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    blocked: Blocked,
    #[serde(default)]
    remember: bool,
    #[serde(default)]
    redirected: bool,
}

#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Blocked {
    #[serde(default)]
    groups: HashSet<String>,
    #[serde(default)]
    users: HashSet<String>,
}

/// The people of one Project.
#[derive(Debug)]
pub struct Table {
    org: String,
    project: String,
    users: HashMap<String, String>,
    blocked: Blocked,
    source: Source,
}

/// Where a rule's requests say who they are from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// In the header that key-auth sets.
    Header,
    /// There too, and it is kept for a redirect to a fallback route.
    HeaderKept,
    /// In what was kept before the gateway's own redirect, and nowhere else.
    Kept,
}

/// Who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Person<'a> {
    /// Organisation.
    pub org: &'a str,
    /// Project.
    pub project: &'a str,
    /// Group of the Project.
    pub group: &'a str,
    /// User.
    pub user: &'a str,
}

impl Table {
    fn new(config: &TableConfig) -> Result<Self, String> {
        let mut users = HashMap::new();
        for (group, members) in &config.groups {
            for user in members {
                if let Some(other) = users.insert(user.clone(), group.clone()) {
                    return Err(format!("user {user} is in the groups {other} and {group}"));
                }
            }
        }
        let source = match (config.remember, config.redirected) {
            (false, false) => Source::Header,
            (true, false) => Source::HeaderKept,
            (false, true) => Source::Kept,
            (true, true) => return Err("remember and redirected exclude each other".to_owned()),
        };
        Ok(Table {
            org: config.org.clone(),
            project: config.project.clone(),
            users,
            blocked: config.blocked.clone(),
            source,
        })
    }

    /// Where the consumer is taken from.
    pub fn source(&self) -> Source {
        self.source
    }

    /// The person behind the consumers that [`Table::source`] names.
    ///
    /// # Errors
    /// 401 without exactly one consumer, 403 when it is not of this Project or is blocked.
    pub fn person<'a>(&'a self, consumers: &[&'a [u8]]) -> Result<Person<'a>, Refusal> {
        let [consumer] = consumers else {
            let message = "No key was accepted. Send your Project key as Authorization: Bearer <key>.";
            return Err(Refusal::new(401, GATE, "key_missing", message));
        };
        let named = std::str::from_utf8(consumer)
            .ok()
            .and_then(|consumer| consumer.split_once('.'));
        let user = named
            .filter(|(project, _)| *project == self.project)
            .map(|(_, user)| user);
        let Some((user, group)) = user.and_then(|user| Some((user, self.users.get(user)?))) else {
            let message = format!(
                "This key is not of the Project {}, whose host was asked. Use that Project's key, or your Project's URL.",
                self.project
            );
            return Err(Refusal::new(403, GATE, "key_wrong_project", message));
        };
        if self.blocked.users.contains(user) || self.blocked.groups.contains(group) {
            let message = format!(
                "{user} of the group {group} is blocked in the Project {}. Ask its owner.",
                self.project
            );
            return Err(Refusal::new(403, GATE, "blocked", message));
        }
        Ok(Person {
            org: &self.org,
            project: &self.project,
            group,
            user,
        })
    }
}
