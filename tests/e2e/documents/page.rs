//! The documents that `docs/reference/json.md` describes, and the check of a value against them.

use std::collections::BTreeMap;

use serde_json::Value;

const PAGE: &str = include_str!("../../../docs/reference/json.md");

/// The page: the type of each verb's document, and the definitions of the types.
#[derive(Debug)]
pub(super) struct Page {
    /// The text beside each verb.
    pub(super) verbs: BTreeMap<&'static str, &'static str>,
    types: BTreeMap<&'static str, Type>,
}

#[derive(Debug, Default)]
struct Type {
    fields: Vec<Field<'static>>,
    /// The texts of the variants. A type that is neither an object nor a choice has one variant: its text.
    variants: Vec<&'static str>,
}

#[derive(Debug)]
struct Field<'a> {
    name: &'a str,
    text: &'a str,
    optional: bool,
}

impl Page {
    pub(super) fn read() -> Self {
        let (verbs, types) = PAGE.split_once("\n## Types\n").expect("a section of types");
        let (_, verbs) = verbs
            .split_once("\n## The document of each verb\n")
            .expect("a section");
        let (verbs, _) = verbs.split_once("\n## ").expect("another section");
        let verbs = verbs.lines().filter_map(|line| {
            let (verb, text) = line.strip_prefix("| `")?.split_once("` | ")?;
            Some((verb, text.strip_suffix(" |")?))
        });
        let types = types.split("\n### ").skip(1).map(|section| {
            let (name, text) = section.split_once('\n').expect("a heading");
            (name, Type::read(text))
        });
        Self {
            verbs: verbs.collect(),
            types: types.collect(),
        }
    }

    /// Checks a verb's document: it must have one of the types that the page names beside the verb.
    pub(super) fn check_document(&self, verb: &str, value: &Value) {
        let text = self
            .verbs
            .get(verb)
            .unwrap_or_else(|| panic!("no document of {verb}"));
        let names = text
            .split('[')
            .skip(1)
            .filter_map(|rest| rest.split(']').next());
        let results = names.map(|name| self.check(&format!("[{name}]"), value));
        let faults: Vec<_> = results.map_while(Result::err).collect();
        let named = text.matches('[').count();
        assert!(
            faults.len() < named,
            "{verb}: {}\n{value:#}",
            faults.join("; ")
        );
    }

    /// Checks a value against the text of a type, such as ``list of [TaskView](#taskview) or null``.
    pub(super) fn check(&self, text: &str, value: &Value) -> Result<(), String> {
        if let Some(fields) = text.strip_prefix("object with ") {
            return self.check_fields(&fields_of(fields), value);
        }
        let mut faults = Vec::new();
        for text in text.split(" or ").flat_map(|text| text.split(", ")) {
            match self.check_one(text, value) {
                Ok(()) => return Ok(()),
                Err(fault) => faults.push(fault),
            }
        }
        Err(faults.join("; "))
    }

    fn check_one(&self, text: &str, value: &Value) -> Result<(), String> {
        let is = |is: bool| {
            if is {
                Ok(())
            } else {
                Err(format!("{value} is not of type {text}"))
            }
        };
        if let Some(name) = text.strip_prefix('[') {
            let name = name.split(']').next().unwrap_or_default();
            return self.check_named(name, value);
        }
        if let Some(json) = text.strip_prefix('`') {
            let wanted: Value = serde_json::from_str(json.trim_end_matches('`'))
                .map_err(|error| error.to_string())?;
            return is(wanted == *value);
        }
        if let Some(item) = text.strip_prefix("list of ") {
            let items = value.as_array().ok_or(format!("{value} is not a list"))?;
            return items
                .iter()
                .try_for_each(|value| self.check_one(item, value));
        }
        if let Some(entry) = text.strip_prefix("object of ") {
            let entries = value
                .as_object()
                .ok_or(format!("{value} is not an object"))?;
            return entries
                .values()
                .try_for_each(|value| self.check_one(entry, value));
        }
        match text {
            "string" => is(value.is_string()),
            "integer" => is(value.is_i64() || value.is_u64()),
            "number" => is(value.is_number()),
            "boolean" => is(value.is_boolean()),
            "object" => is(value.is_object()),
            "null" => is(value.is_null()),
            "any value" => Ok(()),
            text => Err(format!("unknown type: {text}")),
        }
    }

    fn check_named(&self, name: &str, value: &Value) -> Result<(), String> {
        let of = self
            .types
            .get(name)
            .ok_or(format!("no section about {name}"))?;
        let checked = match of.fields.as_slice() {
            [] => {
                let mut faults = Vec::new();
                for text in &of.variants {
                    match self.check(text, value) {
                        Ok(()) => return Ok(()),
                        Err(fault) => faults.push(fault),
                    }
                }
                Err(faults.join("; "))
            }
            fields => self.check_fields(fields, value),
        };
        checked.map_err(|fault| format!("{name}: {fault}"))
    }

    fn check_fields(&self, fields: &[Field<'_>], value: &Value) -> Result<(), String> {
        let object = value
            .as_object()
            .ok_or(format!("{value} is not an object"))?;
        for name in object.keys() {
            if !fields.iter().any(|field| field.name == name) {
                return Err(format!("{name} is not described"));
            }
        }
        for field in fields {
            match object.get(field.name) {
                Some(value) => {
                    let checked = self.check(field.text, value);
                    checked.map_err(|fault| format!("{}: {fault}", field.name))?;
                }
                None if field.optional => {}
                None => return Err(format!("{} is missing", field.name)),
            }
        }
        Ok(())
    }
}

impl Type {
    fn read(text: &'static str) -> Self {
        let mut read = Self::default();
        let mut last = "";
        for line in text.lines() {
            if let Some(row) = line.strip_prefix("| `") {
                let (name, rest) = row.split_once("` | ").expect("a name");
                let (text, _) = rest.split_once(" | ").expect("a type");
                read.fields.push(Field {
                    name,
                    text: text.trim_end_matches(", optional"),
                    optional: text.ends_with(", optional"),
                });
            } else if let Some(variant) = line.strip_prefix("- ") {
                // The type of an object contains colons; the end of the type is found when the fields are read.
                let is_object = variant.starts_with("object with ");
                let text = variant.split_once(": ").filter(|_| !is_object);
                read.variants.push(text.map_or(variant, |(text, _)| text));
            } else if !line.is_empty() {
                last = line;
            }
        }
        if read.fields.is_empty() && read.variants.is_empty() {
            read.variants.push(last);
        }
        read
    }
}

/// The fields of a variant that one line describes, such as `` `kind`: `"plan"`, optional `n`: integer``. Ignores the
/// meaning at the end of the line.
fn fields_of(text: &str) -> Vec<Field<'_>> {
    let mut fields = Vec::new();
    let mut rest = Some(text);
    while let Some(text) = rest {
        let optional = text.starts_with("optional ");
        let text = text.trim_start_matches("optional ").trim_start_matches('`');
        let Some((name, text)) = text.split_once("`: ") else {
            break;
        };
        let end = [", `", ", optional `", ": "];
        let end = end.iter().filter_map(|end| text.find(end)).min();
        let (text, after) = text.split_at(end.unwrap_or(text.len()));
        rest = after.strip_prefix(", ");
        fields.push(Field {
            name,
            text,
            optional,
        });
    }
    fields
}
