//! S11: of an object that is not its own the controller changes only the fields that it manages.

use serde_json::Value;
use tidegate_api::object::{Kind, Object};
use tidegate_controller::names::{HASH_LABEL, MANAGED_BY};

use super::view::Views;
use super::{Invariant, Violation};
use crate::world::{Happened, World, Writer};

/// The invariant, for Services. Routers will be the others.
pub struct ForeignDataIsKept;

/// A Service without what a Rollout manages of it.
fn rest(service: &Object) -> Value {
    let mut value = service.to_value();
    for path in ["/spec/selector", "/metadata/annotations"] {
        if let Some(fields) = value.pointer_mut(path).and_then(Value::as_object_mut) {
            fields.remove(HASH_LABEL);
            fields.remove(MANAGED_BY);
            if fields.is_empty() {
                *value.pointer_mut(path).unwrap_or(&mut Value::Null) = Value::Null;
            }
        }
    }
    for path in ["/metadata/resourceVersion", "/metadata/managedFields", "/metadata/generation"] {
        if let Some(field) = value.pointer_mut(path) {
            *field = Value::Null;
        }
    }
    value
}

/// The same with absent and empty told apart no more.
fn bare(mut value: Value) -> Value {
    if let Some(fields) = value.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
        for value in fields.values_mut() {
            *value = bare(value.take());
        }
    }
    value
}

impl Invariant for ForeignDataIsKept {
    fn name(&self) -> &'static str {
        "S11"
    }

    fn saw(&mut self, world: &World, what: &Happened<'_>, _known: &Views) -> Result<(), Violation> {
        let Happened::Stored { by: Writer::Controller, before: Some(before), after: Some(after), .. } = what
        else {
            return Ok(());
        };
        if after.kind == Kind::Service && bare(rest(before)) != bare(rest(after)) {
            let message = format!("Service {} loses or gains more than its hash", after.meta.name);
            return Err(Violation::new(self.name(), world, message));
        }
        Ok(())
    }
}
