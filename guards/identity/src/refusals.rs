//! Counters of refusals by gate, under names that Higress's `stats_tags` make labels of.

use guard_core::labels::Labels;
use guard_core::refused::counter;
use proxy_wasm::hostcalls;
use proxy_wasm::types::MetricType;
use std::cell::RefCell;
use std::collections::HashMap;

thread_local! {
    /// The host's numbers of the counters by name.
    static IDS: RefCell<HashMap<String, u32>> = RefCell::default();
}

/// Counts one refusal of the request at hand.
pub fn count(gate: &str, status: u32, consumer: &str) {
    let name =
        Labels::new(&guard_host::named("route_name"), "", "", consumer).counter(&counter(gate, status));
    IDS.with(|ids| {
        let Ok(mut ids) = ids.try_borrow_mut() else { return };
        let known = ids.get(&name).copied();
        let Some(id) = known.or_else(|| hostcalls::define_metric(MetricType::Counter, &name).ok()) else {
            return;
        };
        ids.insert(name, id);
        let _ = hostcalls::increment_metric(id, 1);
    });
}
