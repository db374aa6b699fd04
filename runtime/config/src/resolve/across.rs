//! Checks that hold between values.

use super::{Resolver, Values};
use crate::error::Problem;
use crate::layers::quoted;
use serde_json::Value;

impl Resolver<'_> {
    /// Checks that hold between values.
    pub(super) fn across(&mut self, values: &Values) {
        let find = |section: &str, key: &str| {
            let fields = values.get(section)?;
            fields
                .iter()
                .find(|(name, _)| name == key)
                .map(|(_, value)| value)
        };
        let inline = find("engine.payload", "inline_max_bytes").and_then(Value::as_u64);
        let map = find("engine.payload", "map_min_bytes").and_then(Value::as_u64);
        if let (Some(inline), Some(map)) = (inline, map)
            && inline > map
        {
            let other = "engine.payload.map_min_bytes";
            let limit = map.to_string();
            let place = self.place_of("engine.payload.inline_max_bytes");
            self.error(place, Problem::AboveOther { other, limit });
        }
        let records = find("engine", "task_record_file_name").and_then(Value::as_str);
        let log = find("logging", "file_name").and_then(Value::as_str);
        if let (Some(records), Some(log)) = (records, log)
            && records == log
        {
            let place = self.place_of("logging.file_name");
            let given = quoted(log);
            self.error(place, Problem::NameTaken { given });
        }
    }
}
