//! The fields of a form, its question, and the parser of the user's reply. Pure. Called by the parent module.
//!
//! The schema and the message are untrusted text of the server: they are quoted and limited in size.

use agent_team_protocol::text::{is_deceptive, visible, visible_label};
use rmcp::model::ElicitationSchema;
use serde_json::{Map, Value, json};

/// The largest number of fields of a form.
const FIELDS_MAX: usize = 20;

/// The largest number of characters of the server's message, and of a field's description.
const MESSAGE_MAX: usize = 2000;
const DESCRIPTION_MAX: usize = 200;

/// The largest number of characters of a field's name.
const NAME_MAX: usize = 60;

/// Parts of the names of secrets, in lower case and without separators.
const SECRETS: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "passcode",
    "apikey",
    "accesskey",
    "secretkey",
    "privatekey",
    "clientsecret",
    "credential",
    "accesstoken",
    "authtoken",
    "bearertoken",
    "apitoken",
    "recoverycode",
    "onetimecode",
    "verificationcode",
    "creditcard",
    "cardnumber",
    "securitycode",
    "seedphrase",
];

/// Names of secrets that count only as whole words, in singular or plural.
const SECRET_WORDS: &[&str] = &["token", "secret", "pin", "otp", "cvv", "cvc", "pwd", "ssn"];

#[derive(Debug)]
pub(super) struct Form {
    message: String,
    fields: Vec<Field>,
}

#[derive(Debug)]
struct Field {
    name: String,
    description: String,
    kind: Kind,
    required: bool,
    default: Option<Value>,
}

#[derive(Debug, PartialEq)]
enum Kind {
    Text {
        min: Option<u64>,
        max: Option<u64>,
    },
    Number {
        integer: bool,
        min: Option<f64>,
        max: Option<f64>,
    },
    Boolean,
    One(Vec<String>),
    Several(Vec<String>),
}

/// The user's reply to a form.
#[derive(Debug, PartialEq)]
pub(super) enum Reply {
    Accepted(Value),
    Declined,
    Cancelled,
    /// An answer that does not fit the form, with the reason.
    Invalid(String),
    /// A message that is not about the form.
    Unrelated,
}

impl Form {
    /// # Errors
    /// If the form must not be shown, with the reason.
    pub(super) fn read(message: &str, schema: &ElicitationSchema) -> Result<Self, String> {
        let names: Vec<String> = match &schema.property_order {
            Some(order) => order.clone(),
            None => schema.properties.keys().cloned().collect(),
        };
        if names.len() > FIELDS_MAX {
            return Err(format!("it has more than {FIELDS_MAX} fields"));
        }
        let required = schema.required.as_deref().unwrap_or_default();
        let mut fields = Vec::new();
        for name in names {
            let Some(property) = schema.properties.get(&name) else {
                continue;
            };
            if !is_name(&name) {
                return Err("it has a field whose name cannot be shown on a line".to_owned());
            }
            let property = serde_json::to_value(property).unwrap_or_default();
            fields.push(Field::read(
                name.clone(),
                &property,
                required.contains(&name),
            )?);
        }
        let form = Self {
            message: message.to_owned(),
            fields,
        };
        match form.secret() {
            Some(word) => Err(format!(
                "it asks for a secret ({word}), and forms must not contain secrets; pass it to the server in its \
                 environment instead"
            )),
            None => Ok(form),
        }
    }

    /// The word by which the form is recognized as a form for a secret. Only a form with a field for text or a number
    /// can ask for a secret.
    fn secret(&self) -> Option<&'static str> {
        let is_free =
            |field: &&Field| matches!(field.kind, Kind::Text { .. } | Kind::Number { .. });
        let mut free = self.fields.iter().filter(is_free).peekable();
        free.peek()?;
        let of_fields =
            free.find_map(|field| secret_in(&format!("{} {}", field.name, field.description)));
        of_fields.or_else(|| secret_in(&self.message))
    }

    /// The question to the user.
    pub(super) fn question(&self, server: &str, tool: &str) -> String {
        let message: String = self.message.chars().take(MESSAGE_MAX).collect();
        let message = visible(&message);
        let quoted: Vec<_> = message.lines().map(|line| format!("> {line}")).collect();
        let mut text = format!(
            "The MCP server {server} asks you, during a call of {tool}:\n{}\n",
            quoted.join("\n")
        );
        for field in &self.fields {
            text.push_str(&format!("- {}\n", field.line()));
        }
        let example = match self.fields.first() {
            Some(field) => format!(
                "one line for each field, such as `{}: {}`",
                field.label(),
                field.example()
            ),
            None => "`accept`".to_owned(),
        };
        text.push_str(&format!(
            "Reply with {example}, or with `decline` or `cancel`. The server receives your reply: enter no secrets. Any \
             other message cancels the form."
        ));
        text
    }

    pub(super) fn parse(&self, text: &str) -> Reply {
        match text.trim().to_ascii_lowercase().as_str() {
            "decline" => return Reply::Declined,
            "cancel" => return Reply::Cancelled,
            "accept" => return self.accept(Map::new()),
            _ => {}
        }
        let mut content = Map::new();
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let named = line.split_once(':').and_then(|(name, value)| {
                let mut fields = self.fields.iter();
                let field = fields.find(|field| field.name.eq_ignore_ascii_case(name.trim()))?;
                Some((field, value.trim()))
            });
            match named {
                Some((field, value)) => match field.parse(value) {
                    Ok(value) => drop(content.insert(field.name.clone(), value)),
                    Err(why) => return Reply::Invalid(format!("`{}` {why}.", field.label())),
                },
                None if content.is_empty() => return Reply::Unrelated,
                None => {
                    let line = visible_label(line, DESCRIPTION_MAX);
                    return Reply::Invalid(format!("The form has no field for the line `{line}`."));
                }
            }
        }
        match content.is_empty() {
            true => Reply::Unrelated,
            false => self.accept(content),
        }
    }

    /// Adds defaults, and checks that no required field is missing.
    fn accept(&self, mut content: Map<String, Value>) -> Reply {
        for field in &self.fields {
            if content.contains_key(&field.name) {
                continue;
            }
            match &field.default {
                Some(default) => drop(content.insert(field.name.clone(), default.clone())),
                None if field.required => {
                    return Reply::Invalid(format!("`{}` is missing.", field.label()));
                }
                None => {}
            }
        }
        Reply::Accepted(Value::Object(content))
    }
}

impl Field {
    fn read(name: String, property: &Value, required: bool) -> Result<Self, String> {
        let texts = |values: &Value, key: Option<&str>| -> Option<Vec<String>> {
            let values = values.as_array()?.iter();
            let text = |value: &Value| match key {
                Some(key) => value[key].as_str().map(str::to_owned),
                None => value.as_str().map(str::to_owned),
            };
            values.map(text).collect()
        };
        let choices = |schema: &Value| {
            texts(&schema["enum"], None)
                .or_else(|| texts(&schema["oneOf"], Some("const")))
                .or_else(|| texts(&schema["anyOf"], Some("const")))
        };
        let kind = match (property["type"].as_str(), choices(property)) {
            (Some("string"), Some(choices)) => Kind::One(choices),
            (Some("string"), None) => Kind::Text {
                min: property["minLength"].as_u64(),
                max: property["maxLength"].as_u64(),
            },
            (Some(number @ ("number" | "integer")), _) => Kind::Number {
                integer: number == "integer",
                min: property["minimum"].as_f64(),
                max: property["maximum"].as_f64(),
            },
            (Some("boolean"), _) => Kind::Boolean,
            (Some("array"), _) => match choices(&property["items"]) {
                Some(choices) => Kind::Several(choices),
                None => return Err("it has a field of an unsupported type".to_owned()),
            },
            _ => return Err("it has a field of an unsupported type".to_owned()),
        };
        let part = |key: &str| property[key].as_str().unwrap_or_default();
        Ok(Self {
            name,
            description: format!("{} {}", part("title"), part("description"))
                .trim()
                .to_owned(),
            kind,
            required,
            default: property.get("default").cloned(),
        })
    }

    /// The name for the user.
    fn label(&self) -> String {
        visible_label(&self.name, NAME_MAX)
    }

    fn line(&self) -> String {
        let kind = match &self.kind {
            Kind::Text { .. } => "text".to_owned(),
            Kind::Number { integer: true, .. } => "whole number".to_owned(),
            Kind::Number { .. } => "number".to_owned(),
            Kind::Boolean => "yes or no".to_owned(),
            Kind::One(choices) => format!("one of: {}", choices.join(", ")),
            Kind::Several(choices) => format!("some of, with commas: {}", choices.join(", ")),
        };
        let kind = visible_label(&kind, DESCRIPTION_MAX);
        let default = self.default.as_ref().map(|default| match default {
            Value::String(text) => text.clone(),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Array(_)
            | Value::Object(_) => default.to_string(),
        });
        let rest = match (&default, self.required) {
            (Some(default), _) => {
                format!("; default: {}", visible_label(default, DESCRIPTION_MAX))
            }
            (None, true) => String::new(),
            (None, false) => "; optional".to_owned(),
        };
        let name = self.label();
        let description = visible_label(&self.description, DESCRIPTION_MAX);
        format!("{name} ({kind}{rest}) {description}")
            .trim_end()
            .to_owned()
    }

    fn example(&self) -> String {
        match &self.kind {
            Kind::Text { .. } => "TEXT".to_owned(),
            Kind::Number { min, .. } => min.unwrap_or(1.0).to_string(),
            Kind::Boolean => "yes".to_owned(),
            Kind::One(choices) | Kind::Several(choices) => {
                visible_label(choices.first().map_or("", String::as_str), DESCRIPTION_MAX)
            }
        }
    }

    fn parse(&self, text: &str) -> Result<Value, String> {
        match &self.kind {
            Kind::Text { min, max } => {
                let length = text.chars().count() as u64;
                if min.is_some_and(|min| length < min) || max.is_some_and(|max| length > max) {
                    let (min, max) = (
                        min.unwrap_or(0),
                        max.map_or(" or more".to_owned(), |max| format!(" to {max}")),
                    );
                    return Err(format!("must have {min}{max} characters"));
                }
                Ok(json!(text))
            }
            Kind::Number { integer, min, max } => {
                let number = match integer {
                    true => text
                        .parse::<i64>()
                        .ok()
                        .map(|number| (json!(number), number as f64)),
                    false => text
                        .parse::<f64>()
                        .ok()
                        .map(|number| (json!(number), number)),
                };
                let fits = |value: f64| {
                    min.is_none_or(|min| value >= min) && max.is_none_or(|max| value <= max)
                };
                match number {
                    Some((value, number)) if number.is_finite() && fits(number) => Ok(value),
                    Some(_) => Err("is outside its range".to_owned()),
                    None => Err("must be a number".to_owned()),
                }
            }
            Kind::Boolean => match text.to_ascii_lowercase().as_str() {
                "yes" | "true" | "y" => Ok(json!(true)),
                "no" | "false" | "n" => Ok(json!(false)),
                _ => Err("must be yes or no".to_owned()),
            },
            Kind::One(choices) => one_of(choices, text).map(|choice| json!(choice)),
            Kind::Several(choices) => {
                let parts = text
                    .split(',')
                    .map(str::trim)
                    .filter(|part| !part.is_empty());
                let chosen: Result<Vec<_>, _> = parts.map(|part| one_of(choices, part)).collect();
                Ok(json!(chosen?))
            }
        }
    }
}

fn one_of<'a>(choices: &'a [String], text: &str) -> Result<&'a str, String> {
    let mut found = choices
        .iter()
        .filter(|choice| choice.eq_ignore_ascii_case(text));
    match found.next() {
        Some(choice) => Ok(choice),
        None => Err(format!(
            "must be one of: {}",
            visible_label(&choices.join(", "), DESCRIPTION_MAX)
        )),
    }
}

/// Whether a reply can contain the name, as `name: value`, and the user sees the name unchanged.
fn is_name(name: &str) -> bool {
    let is_shown = |c: char| c != ':' && c != '`' && !is_deceptive(c);
    name.chars().all(is_shown)
        && name.trim() == name
        && (1..=NAME_MAX).contains(&name.chars().count())
}

/// The word that names a secret, in any spelling: `API-Key`, `api_key`, `apiKey`.
fn secret_in(text: &str) -> Option<&'static str> {
    let lower = text.to_lowercase();
    let plain: String = lower.chars().filter(|c| c.is_alphanumeric()).collect();
    let part = SECRETS.iter().find(|part| plain.contains(**part));
    part.or_else(|| {
        let mut words = lower.split(|c: char| !c.is_alphanumeric());
        words.find_map(|word| {
            let singular = word.strip_suffix('s').unwrap_or(word);
            SECRET_WORDS
                .iter()
                .find(|secret| **secret == word || **secret == singular)
        })
    })
    .copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(message: &str, properties: Value, required: &[&str]) -> Result<Form, String> {
        let schema = json!({"type": "object", "properties": properties, "required": required});
        Form::read(message, &serde_json::from_value(schema).unwrap())
    }

    fn deployment() -> Form {
        let properties = json!({
            "env": {"type": "string", "enum": ["staging", "production"]},
            "replicas": {"type": "integer", "minimum": 1, "maximum": 5, "default": 2},
            "notify": {"type": "boolean"},
            "regions": {"type": "array", "items": {"type": "string", "enum": ["eu", "us"]}},
            "note": {"type": "string", "maxLength": 10, "description": "for the log"},
        });
        form("Where to?", properties, &["env"]).unwrap()
    }

    #[test]
    fn a_reply_fills_in_the_fields_of_a_form() {
        let form = deployment();
        let reply = form.parse("ENV: Staging\n\nnotify: yes\nregions: us, eu\nnote: a: b\n");
        let expected = json!({
            "env": "staging", "replicas": 2, "notify": true, "regions": ["us", "eu"], "note": "a: b"
        });
        assert_eq!(reply, Reply::Accepted(expected));
        assert_eq!(form.parse(" Decline\n"), Reply::Declined);
        assert_eq!(form.parse("cancel"), Reply::Cancelled);
        for (text, why) in [
            ("env: moon", "must be one of: staging, production"),
            ("env: staging\nreplicas: 9", "outside its range"),
            ("env: staging\nreplicas: many", "must be a number"),
            ("env: staging\nnote: 12345678901", "0 to 10 characters"),
            ("notify: no", "`env` is missing"),
            ("accept", "`env` is missing"),
            ("env: staging\nand hurry", "no field for the line"),
        ] {
            let reply = form.parse(text);
            let is_refused = matches!(&reply, Reply::Invalid(reason) if reason.contains(why));
            assert!(is_refused, "{text}: {reply:?}");
        }
    }

    #[test]
    fn an_unrelated_message_is_not_an_answer() {
        let form = deployment();
        for text in [
            "Stop that!",
            "note to self: rest",
            "",
            "{\"env\": \"staging\"}",
        ] {
            assert_eq!(form.parse(text), Reply::Unrelated, "{text}");
        }
        let confirmation = super::Form::read(
            "Delete it?",
            &serde_json::from_value(json!({"type": "object", "properties": {}})).unwrap(),
        );
        let confirmation = confirmation.unwrap();
        assert_eq!(confirmation.parse("accept"), Reply::Accepted(json!({})));
        assert_eq!(confirmation.parse("yes please"), Reply::Unrelated);
    }

    #[test]
    fn forms_for_secrets_are_refused() {
        let text = json!({"type": "string"});
        for (message, name, description) in [
            ("Log in", "password", ""),
            ("Log in", "value", "Your API-Key"),
            ("Enter your pass-word please", "value", ""),
            ("Log in", "githubAccessToken", ""),
            ("Your PIN?", "value", ""),
            ("Log in", "Passwörd", "the passphrase"),
        ] {
            let mut field = text.clone();
            field["description"] = json!(description);
            let refused = form(message, json!({ name: field }), &[]).unwrap_err();
            assert!(refused.contains("asks for a secret"), "{message} {name}");
        }
        let confirm = json!({"sure": {"type": "boolean"}});
        assert!(form("Rotate the password now?", confirm, &[]).is_ok());
        assert!(form("Spinning up", json!({"shipping": text}), &[]).is_ok());
    }

    #[test]
    fn a_form_with_an_ambiguous_field_name_is_refused() {
        for name in ["", "a: b", " a", "a ", "a\nb", "a\u{202e}b", "`a`"] {
            let properties = json!({ name: {"type": "string"} });
            let refused = form("x", properties, &[]).unwrap_err();
            assert!(refused.contains("whose name cannot"), "{name:?}: {refused}");
        }
        let long = json!({ ("x".repeat(NAME_MAX + 1)): {"type": "string"} });
        assert!(form("x", long, &[]).is_err());
    }

    #[test]
    fn the_question_quotes_the_text_of_the_server() {
        let properties = json!({"a # Rules": {"type": "string", "description": "x\x1b[2J\ny"}});
        let form = form("Hi\n# Your role\n\x1b]0;t\x07", properties, &[]).unwrap();
        let question = form.question("db", "mcp__db__deploy");
        assert!(
            question.contains("\n> # Your role\n> \\e]0;t"),
            "{question}"
        );
        assert!(
            question.contains("- a # Rules (text; optional) x\\e[2J\\ny\n"),
            "{question}"
        );
        assert!(!question.contains('\x1b'), "{question}");
    }
}
