//! Typed access to one table of a TOML file. Called by the modules that read the tables.
//!
//! Each accessor reports a value of the wrong type. [`Table::finish`] reports every key that no accessor has read, and
//! every key that [`reference`] does not describe.

use std::collections::BTreeMap;

use agent_team_protocol::spec::Colour;
use serde_json::{Map, Number, Value};
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::reference;
use super::source::Source;
use super::unsupported::{self, Level};

pub(super) fn colours() -> [(&'static str, Colour); Colour::PALETTE.len()] {
    Colour::PALETTE.map(|colour| (colour.name(), colour))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct At<T> {
    pub(super) value: T,
    /// Byte offset in the file.
    pub(super) at: usize,
}

#[derive(Debug)]
pub(super) struct Table<'a> {
    source: &'a Source<'a>,
    table: &'a DeTable<'a>,
    level: Level,
    /// Byte offset of the table.
    pub(super) at: usize,
    known_keys: Vec<&'static str>,
}

impl<'a> Table<'a> {
    pub(super) fn new(
        source: &'a Source<'a>,
        table: &'a DeTable<'a>,
        level: Level,
        at: usize,
    ) -> Self {
        Self {
            source,
            table,
            level,
            at,
            known_keys: Vec::new(),
        }
    }

    pub(super) fn string(&mut self, key: &'static str) -> Option<At<&'a str>> {
        let found = self.value(key)?;
        match found.value.as_str() {
            Some(value) => Some(At {
                value,
                at: found.at,
            }),
            None => self.wrong_type(key, "a string", found),
        }
    }

    /// A string, or a list of strings.
    pub(super) fn string_or_strings(&mut self, key: &'static str) -> Option<Vec<At<&'a str>>> {
        match self.is_array(key) {
            true => self.strings(key),
            false => Some(vec![self.string(key)?]),
        }
    }

    pub(super) fn is_array(&self, key: &str) -> bool {
        let value = self.table.get(key);
        value.is_some_and(|value| matches!(value.get_ref(), DeValue::Array(_)))
    }

    pub(super) fn boolean(&mut self, key: &'static str) -> Option<bool> {
        let found = self.value(key)?;
        match found.value.as_bool() {
            Some(value) => Some(value),
            None => self.wrong_type(key, "true or false", found),
        }
    }

    pub(super) fn integer(
        &mut self,
        key: &'static str,
        range: std::ops::RangeInclusive<i32>,
    ) -> Option<i32> {
        let found = self.value(key)?;
        let Some(integer) = found.value.as_integer() else {
            return self.wrong_type(key, "a whole number", found);
        };
        let value = i32::from_str_radix(integer.as_str(), integer.radix()).ok();
        let value = value.filter(|value| range.contains(value));
        if value.is_none() {
            self.source.fault(
                found.at,
                format!("`{key}` must be from {} to {}", range.start(), range.end()),
            );
        }
        value
    }

    /// An integer of at least 1.
    pub(super) fn count(&mut self, key: &'static str) -> Option<u64> {
        let found = self.value(key)?;
        let Some(integer) = found.value.as_integer() else {
            return self.wrong_type(key, "a whole number", found);
        };
        let value = u64::from_str_radix(integer.as_str(), integer.radix()).ok();
        self.positive(key, found.at, value.filter(|value| *value > 0))
    }

    /// A number above 0, an integer or a fraction.
    pub(super) fn amount(&mut self, key: &'static str) -> Option<f64> {
        let found = self.value(key)?;
        let text = match (found.value.as_integer(), found.value.as_float()) {
            (Some(integer), _) if integer.radix() == 10 => integer.as_str(),
            (_, Some(float)) => float.as_str(),
            (_, None) => return self.wrong_type(key, "a number", found),
        };
        let value = text.parse::<f64>().ok();
        let value = value.filter(|value| value.is_finite() && *value > 0.0);
        self.positive(key, found.at, value)
    }

    fn positive<T>(&self, key: &str, at: usize, value: Option<T>) -> Option<T> {
        if value.is_none() {
            let message = format!("`{key}` must be a number above 0");
            self.source.fault(at, message);
        }
        value
    }

    pub(super) fn strings(&mut self, key: &'static str) -> Option<Vec<At<&'a str>>> {
        let found = self.value(key)?;
        let Some(array) = found.value.as_array() else {
            return self.wrong_type(key, "a list of strings", found);
        };
        Some(self.each_string(key, array))
    }

    fn each_string(&self, key: &'static str, array: &'a DeArray<'a>) -> Vec<At<&'a str>> {
        let mut strings = Vec::new();
        for item in array.iter() {
            let at = item.span().start;
            match item.get_ref().as_str() {
                Some(value) => strings.push(At { value, at }),
                None => {
                    let found = type_of(item.get_ref());
                    self.source
                        .fault(at, format!("`{key}` must contain strings, not {found}"));
                }
            }
        }
        strings
    }

    /// A table of strings with arbitrary keys, such as `env`.
    pub(super) fn string_map(
        &mut self,
        key: &'static str,
        check: impl Fn(&str, &str) -> Result<(), String>,
    ) -> BTreeMap<String, String> {
        let mut map = BTreeMap::new();
        let Some(found) = self.value(key) else {
            return map;
        };
        let Some(table) = found.value.as_table() else {
            self.wrong_type::<()>(key, "a table of strings", found);
            return map;
        };
        for (name, value) in table {
            match value.get_ref().as_str() {
                Some(text) => {
                    if let Err(why) = check(name.get_ref(), text) {
                        self.source.fault(name.span().start, why);
                    }
                    map.insert(name.get_ref().to_string(), text.to_owned());
                }
                None => {
                    let found = type_of(value.get_ref());
                    self.source.fault(
                        value.span().start,
                        format!(
                            "`{key}.{name}` must be a string, not {found}",
                            name = name.get_ref()
                        ),
                    );
                }
            }
        }
        map
    }

    /// Reads the key `colour`, or `color` if the table does not set `colour`.
    pub(super) fn colour(&mut self) -> Option<Colour> {
        let has = |key: &str| self.table.contains_key(key);
        let key = match has("color") && !has("colour") {
            true => "color",
            false => "colour",
        };
        self.word(key, &colours()).map(|found| found.value)
    }

    /// One of a fixed set of words. Words that are reserved for later versions have a separate message.
    pub(super) fn word<T: Copy>(
        &mut self,
        key: &'static str,
        words: &[(&'static str, T)],
    ) -> Option<At<T>> {
        let found = self.string(key)?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == found.value) {
            return Some(At {
                value: *value,
                at: found.at,
            });
        }
        if unsupported::is_value(key, found.value) {
            self.source.fault(
                found.at,
                unsupported::message(&format!("{key} = {:?}", found.value)),
            );
            return None;
        }
        let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
        self.source.fault_with_hint(
            found.at,
            format!("{:?} is not a valid value of `{key}`", found.value),
            suggest(found.value, &known),
        );
        None
    }

    /// A table with arbitrary keys and values, as JSON. Dates become strings.
    pub(super) fn object(&mut self, key: &'static str) -> Option<Map<String, Value>> {
        let found = self.value(key)?;
        let Some(table) = found.value.as_table() else {
            return self.wrong_type(key, "a table", found);
        };
        self.json_object(key, table)
    }

    fn json_object(&self, key: &str, table: &DeTable<'_>) -> Option<Map<String, Value>> {
        let mut object = Map::new();
        for (name, value) in table {
            let name: &str = name.get_ref();
            object.insert(name.to_owned(), self.json(key, value)?);
        }
        Some(object)
    }

    fn json(&self, key: &str, value: &Spanned<DeValue<'_>>) -> Option<Value> {
        let json = match value.get_ref() {
            DeValue::String(text) => Some(Value::String(text.to_string())),
            DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
                .ok()
                .map(Value::from),
            DeValue::Float(number) => {
                let number = number.as_str().parse::<f64>().ok();
                number.and_then(Number::from_f64).map(Value::Number)
            }
            DeValue::Boolean(is) => Some(Value::Bool(*is)),
            DeValue::Datetime(date) => Some(Value::String(date.to_string())),
            DeValue::Array(array) => {
                let items = array.iter().map(|item| self.json(key, item));
                return items.collect::<Option<_>>().map(Value::Array);
            }
            DeValue::Table(table) => return self.json_object(key, table).map(Value::Object),
        };
        if json.is_none() {
            let text = format!("`{key}` contains a number that JSON cannot hold");
            self.source.fault(value.span().start, text);
        }
        json
    }

    pub(super) fn table(&mut self, key: &'static str, level: Level) -> Option<Table<'a>> {
        let found = self.value(key)?;
        match found.value.as_table() {
            Some(table) => Some(Table::new(self.source, table, level, found.at)),
            None => self.wrong_type(key, &format!("a table, written [{key}]"), found),
        }
    }

    /// An array of tables, written `[[key]]`.
    pub(super) fn tables(&mut self, key: &'static str, level: Level) -> Vec<Table<'a>> {
        let Some(found) = self.value(key) else {
            return Vec::new();
        };
        let wanted = format!("a list of tables, each written [[{key}]]");
        let Some(array) = found.value.as_array() else {
            self.wrong_type::<()>(key, &wanted, found);
            return Vec::new();
        };
        let mut tables = Vec::new();
        for item in array.iter() {
            let at = item.span().start;
            match item.get_ref().as_table() {
                Some(table) => tables.push(Table::new(self.source, table, level, at)),
                None => {
                    let value = item.get_ref();
                    self.wrong_type::<()>(key, &wanted, At { value, at });
                }
            }
        }
        tables
    }

    /// All tables within this table, whose keys are names, such as `[roles.<name>]`.
    pub(super) fn named_tables(self, level: Level) -> Vec<(At<&'a str>, Table<'a>)> {
        let mut tables = Vec::new();
        for (name, value) in self.table {
            let at = name.span().start;
            match value.get_ref().as_table() {
                Some(table) => {
                    let value: &'a str = name.get_ref();
                    tables.push((At { value, at }, Table::new(self.source, table, level, at)));
                }
                None => {
                    let found = type_of(value.get_ref());
                    self.source.fault(
                        value.span().start,
                        format!("`{}` must be a table, not {found}", name.get_ref()),
                    );
                }
            }
        }
        tables
    }

    /// Reports every key that no accessor has read. Must be called after all accessors.
    pub(super) fn finish(self) {
        for key in self.table.keys() {
            let name: &str = key.get_ref();
            if self.known_keys.contains(&name) {
                continue;
            }
            let at = key.span().start;
            let unsupported: Vec<_> = unsupported::keys(self.level).collect();
            if unsupported.contains(&name) {
                self.source.fault(at, unsupported::message(name));
                continue;
            }
            let known: Vec<_> = self
                .known_keys
                .iter()
                .chain(&unsupported)
                .copied()
                .collect();
            let message = format!("unknown key `{name}`");
            self.source
                .fault_with_hint(at, message, suggest(name, &known));
        }
    }

    /// The position of each key in a table within this table.
    pub(super) fn positions_in(&self, key: &str) -> BTreeMap<String, usize> {
        let table = self
            .table
            .get(key)
            .and_then(|value| value.get_ref().as_table());
        let keys = table.into_iter().flat_map(|table| table.keys());
        keys.map(|name| (name.get_ref().to_string(), name.span().start))
            .collect()
    }

    pub(super) fn is_table(&self, key: &str) -> bool {
        let value = self.table.get(key);
        value.is_some_and(|value| value.get_ref().is_table())
    }

    /// The string of a key. Does not report a value of another type.
    pub(super) fn string_at(&self, key: &str) -> Option<&'a str> {
        self.table.get(key)?.get_ref().as_str()
    }

    /// The position of a key's value.
    pub(super) fn position_of(&self, key: &str) -> Option<usize> {
        self.table.get(key).map(|value| value.span().start)
    }

    fn value(&mut self, key: &'static str) -> Option<At<&'a DeValue<'a>>> {
        let is_described =
            reference::section(self.level).is_none_or(|section| section.describes(key));
        debug_assert!(
            is_described,
            "`{key}` of {:?} has no entry in src/reference/",
            self.level
        );
        if is_described {
            self.known_keys.push(key);
        }
        let value = self.table.get(key)?;
        Some(At {
            value: value.get_ref(),
            at: value.span().start,
        })
    }

    fn wrong_type<T>(&self, key: &str, wanted: &str, found: At<&DeValue<'_>>) -> Option<T> {
        let message = format!("`{key}` must be {wanted}, not {}", type_of(found.value));
        self.source.fault(found.at, message);
        None
    }
}

fn type_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a decimal number",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// A hint with the known word that has the smallest edit distance, or with all known words if no word is close.
pub fn suggest(text: &str, known: &[&str]) -> String {
    // At least one character must match, so that `B` is not suggested for `A`.
    let farthest = |word: &str| 2.max(word.len() / 3).min(word.len().saturating_sub(1));
    let nearest = known
        .iter()
        .filter(|word| word.len().abs_diff(text.len()) <= farthest(word))
        .map(|word| (strsim::damerau_levenshtein(text, word), word))
        .filter(|(distance, word)| *distance <= farthest(word))
        .min();
    match nearest {
        Some((_, word)) => format!("did you mean `{word}`?"),
        None => format!("expected one of: {}", known.join(", ")),
    }
}
