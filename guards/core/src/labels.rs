//! Names of counters that the gateway's `stats_tags` take apart again.
//!
//! `route.<route>.upstream.<cluster>.model.<model>.consumer.<consumer>.metric.<name>`: the expressions look for the first
//! `upstream.`, `model.`, `consumer.`, `metric.` after what came before, so no value may contain or end with
//! the word that would be found too early. There the dot after the word becomes `_`.

/// Longer models are cut.
const MAX_MODEL: usize = 128;

/// Who and what a request's tokens are booked on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Labels {
    route: String,
    cluster: String,
    model: String,
    consumer: String,
}

impl Labels {
    /// From the names as they are.
    pub fn new(route: &str, cluster: &str, model: &str, consumer: &str) -> Self {
        Labels {
            route: safe(route, &["upstream", "model", "consumer"]),
            cluster: safe(cluster, &["model", "consumer"]),
            model: safe(&plain(model), &["consumer"]),
            consumer: safe(consumer, &["metric"]),
        }
    }

    /// The route's label.
    pub fn route(&self) -> &str {
        &self.route
    }

    /// The model's label.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// A counter's name.
    pub fn counter(&self, metric: &str) -> String {
        format!(
            "route.{}.upstream.{}.model.{}.consumer.{}.metric.{metric}",
            self.route, self.cluster, self.model, self.consumer
        )
    }
}

/// A value in which none of the words stands before a dot.
fn safe(value: &str, words: &[&str]) -> String {
    let mut text = if value.is_empty() {
        "none".to_owned()
    } else {
        format!("{value}.")
    };
    if value.is_empty() {
        return text;
    }
    for word in words {
        text = text.replace(&format!("{word}."), &format!("{word}_"));
    }
    match text.strip_suffix('.') {
        Some(kept) => kept.to_owned(),
        None => text,
    }
}

/// A model's name as a provider may have made it up: cut, and without characters that no name has.
fn plain(model: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "._-:/@+".contains(c);
    model
        .chars()
        .take(MAX_MODEL)
        .map(|c| if allowed(c) { c } else { '_' })
        .collect()
}
