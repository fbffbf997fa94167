//! The schema of a type of the protocol, for documents of the command line that contain one.

use std::borrow::Cow;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

/// A type of the protocol, which derives its schema only in the tests of its own crate.
pub(crate) struct Wire<T>(PhantomData<T>);

impl<T> JsonSchema for Wire<T> {
    fn schema_name() -> Cow<'static, str> {
        let name = std::any::type_name::<T>();
        name.rsplit("::").next().unwrap_or(name).into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "$ref": format!("#/$defs/{}", Self::schema_name()) })
    }
}
