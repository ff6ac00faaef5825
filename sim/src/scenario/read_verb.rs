//! What a person can do in a scenario, as it is written there.

use tidegate_api::object::{Kind, Object};

use super::cursor::{Cursor, Read};
use super::read::{Load, NOT_BUILT, objects_of};
use super::{Fault, Patch, Side, Simple, Verb};

const VERBS: &[&str] = &[
    "set_image",
    "promote",
    "promote_full",
    "abort",
    "retry",
    "undo",
    "restart",
    "pause",
    "resume",
    "scale",
    "apply",
    "patch",
    "create",
    "delete",
    "ready",
    "unready",
    "restart_controller",
    "note",
    "fault",
];
const LATER: &[&str] = &["metric", "terminate", "quality", "traffic", "upgrade_controller"];

pub(super) fn verb(name: &str, at: &Cursor<'_>, load: Load<'_>) -> Read<Verb> {
    let simple = |verb: Simple| Ok(Verb::Simple(verb, at.owned()?));
    match name {
        "set_image" => set_image(at),
        "promote" => simple(Simple::Promote),
        "promote_full" => simple(Simple::PromoteFull),
        "abort" => simple(Simple::Abort),
        "retry" => simple(Simple::Retry),
        "restart" => simple(Simple::Restart),
        "pause" => simple(Simple::Pause),
        "resume" => simple(Simple::Resume),
        "undo" => undo(at),
        "scale" => scale(at),
        "apply" => objects(at, load).map(Verb::Apply),
        "create" => objects(at, load).map(Verb::Create),
        "delete" => {
            at.fields(&["kind", "name"])?;
            Ok(Verb::Delete { kind: kind(at)?, name: at.need("name")?.owned()? })
        }
        "patch" => patch(at),
        "ready" => readiness(at, true),
        "unready" => readiness(at, false),
        "restart_controller" => Ok(Verb::RestartController),
        "note" => at.owned().map(Verb::Note),
        "fault" => Fault::read(at).map(Verb::Fault),
        later if LATER.contains(&later) => at.wrong_key(format!("`{later}` {NOT_BUILT}")),
        unknown => {
            let error = at.document.error_at_key(&at.path, format!("unknown verb `{unknown}`"));
            Err(error.with_help(format!("verbs: {}", VERBS.join(", "))))
        }
    }
}

fn set_image(at: &Cursor<'_>) -> Read<Verb> {
    at.fields(&["rollout", "container", "image"])?;
    Ok(Verb::SetImage {
        rollout: at.need("rollout")?.owned()?,
        container: at.get("container").map(|field| field.owned()).transpose()?,
        image: at.need("image")?.owned()?,
    })
}

fn undo(at: &Cursor<'_>) -> Read<Verb> {
    if at.value.is_string() {
        return Ok(Verb::Undo { rollout: at.owned()?, to_revision: 0 });
    }
    at.fields(&["rollout", "to_revision"])?;
    let to_revision = at.get("to_revision").map_or(Ok(0), |field| field.number())?;
    Ok(Verb::Undo { rollout: at.need("rollout")?.owned()?, to_revision })
}

fn scale(at: &Cursor<'_>) -> Read<Verb> {
    at.fields(&["rollout", "replicas"])?;
    Ok(Verb::Scale { rollout: at.need("rollout")?.owned()?, replicas: at.need("replicas")?.number()? })
}

fn objects(at: &Cursor<'_>, load: Load<'_>) -> Read<Vec<Object>> {
    if !at.value.is_array() {
        return objects_of(at, load);
    }
    let mut all = Vec::new();
    for item in at.items()? {
        all.extend(objects_of(&item, load)?);
    }
    Ok(all)
}

fn kind(at: &Cursor<'_>) -> Read<Kind> {
    let field = at.need("kind")?;
    let name = field.text()?;
    Kind::by_name(name).map_or_else(|| field.wrong(format!("unknown kind `{name}`")), Ok)
}

fn patch(at: &Cursor<'_>) -> Read<Verb> {
    at.fields(&["kind", "name", "merge", "json", "subresource"])?;
    let patch = match (at.get("merge"), at.get("json")) {
        (Some(merge), None) => {
            merge.map()?;
            Patch::Merge(merge.value.clone())
        }
        (None, Some(json)) => {
            json.items()?;
            Patch::Operations(json.value.clone())
        }
        _ => return at.wrong_key("a patch has either `merge` or `json`"),
    };
    let status = match at.get("subresource") {
        None => false,
        Some(field) if field.text()? == "status" => true,
        Some(field) => return field.wrong("the only subresource that can be patched is `status`"),
    };
    Ok(Verb::Patch { kind: kind(at)?, name: at.need("name")?.owned()?, patch, status })
}

fn readiness(at: &Cursor<'_>, ready: bool) -> Read<Verb> {
    at.fields(&["rollout", "side", "count"])?;
    let side = match at.get("side") {
        None => Side::New,
        Some(field) => match (field.value.as_str(), field.value.as_i64()) {
            (Some("stable"), _) => Side::Stable,
            (Some("new"), _) => Side::New,
            (_, Some(revision)) => Side::Revision(revision),
            _ => return field.wrong("this must be `stable`, `new` or the number of a revision"),
        },
    };
    let count = at.get("count").map(|field| field.number()).transpose()?;
    Ok(Verb::Ready { rollout: at.need("rollout")?.owned()?, side, count, ready })
}
