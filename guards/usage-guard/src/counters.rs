//! The guard's own counters, under names that Higress's `stats_tags` make labels of.

use guard_core::labels::Labels;
use guard_core::usage::Booked;
use proxy_wasm::hostcalls;
use proxy_wasm::types::MetricType;
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};

/// A provider that makes up a new model name for every answer must not fill the memory: beyond so many of them on one
/// route, the alias is booked.
const MODELS_PER_ROUTE: usize = 64;

const NAMES: [&str; 7] = [
    "usage_request",
    "usage_input_token",
    "usage_cache_read_token",
    "usage_cache_write_token",
    "usage_output_token",
    "usage_estimated_input_token",
    "usage_estimated_output_token",
];

/// Where and by whom tokens were used.
#[derive(Debug)]
pub struct Place<'a> {
    /// The route that was taken.
    pub route: String,
    /// The cluster that answered.
    pub cluster: String,
    /// Who asked.
    pub consumer: &'a str,
}

#[derive(Default)]
struct Counters {
    /// The host's numbers of the counters, in the order of [`NAMES`].
    ids: HashMap<Labels, [Option<u32>; NAMES.len()]>,
    models: HashMap<String, HashSet<String>>,
}

thread_local! {
    static COUNTERS: RefCell<Counters> = RefCell::default();
}

/// Adds what one request used.
pub fn add(place: &Place<'_>, named: Option<&str>, alias: &str, booked: &Booked) {
    COUNTERS.with(|counters| {
        if let Ok(mut counters) = counters.try_borrow_mut() {
            let labels = counters.labels(place, named, alias);
            counters.add(labels, booked);
        }
    });
}

impl Counters {
    fn labels(&mut self, place: &Place<'_>, named: Option<&str>, alias: &str) -> Labels {
        let labels = |model| Labels::new(&place.route, &place.cluster, model, place.consumer);
        let Some(wanted) = named.map(labels) else { return labels(alias) };
        let models = self.models.entry(wanted.route().to_owned()).or_default();
        if models.contains(wanted.model()) {
            return wanted;
        }
        if models.len() >= MODELS_PER_ROUTE {
            return labels(alias);
        }
        models.insert(wanted.model().to_owned());
        wanted
    }

    fn add(&mut self, labels: Labels, booked: &Booked) {
        let amounts = [
            1,
            booked.input,
            booked.cache_read,
            booked.cache_write,
            booked.output,
            booked.estimated_input,
            booked.estimated_output,
        ];
        let ids = self.ids.entry(labels.clone()).or_default();
        for ((id, name), amount) in ids.iter_mut().zip(NAMES).zip(amounts) {
            if amount == 0 {
                continue;
            }
            if id.is_none() {
                *id = hostcalls::define_metric(MetricType::Counter, &labels.counter(name)).ok();
            }
            if let Some(id) = id {
                let _ = hostcalls::increment_metric(*id, i64::try_from(amount).unwrap_or(i64::MAX));
            }
        }
    }
}
