//! How often each rule did what: counters under names that Higress's `stats_tags` make labels of. Never a value.

use guard_core::labels::Labels;
use masking::engine::Rule;
use proxy_wasm::hostcalls;
use proxy_wasm::types::MetricType;
use std::cell::RefCell;
use std::collections::HashMap;

thread_local! {
    static IDS: RefCell<HashMap<String, u32>> = RefCell::default();
}

/// Adds `counts[i]` to the counter of `rules[i]` and its action.
pub fn add(labels: &Labels, rules: &[Rule], counts: &[u32]) {
    for (rule, &count) in rules.iter().zip(counts).filter(|(_, &count)| count > 0) {
        let name: String = rule
            .name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
            .collect();
        let counter = labels.counter(&format!("masked_{name}_{}", rule.action.name()));
        IDS.with(|ids| {
            let Ok(mut ids) = ids.try_borrow_mut() else { return };
            let id = match ids.get(&counter) {
                Some(id) => *id,
                None => {
                    let Ok(id) = hostcalls::define_metric(MetricType::Counter, &counter) else {
                        return;
                    };
                    ids.insert(counter, id);
                    id
                }
            };
            let _ = hostcalls::increment_metric(id, i64::from(count));
        });
    }
}
