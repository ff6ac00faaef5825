//! What a person can do in a scenario, as it is written there.

use tidegate_api::object::Object;
use tidegate_api::time::Span;

use super::cursor::{Cursor, Read};
use super::keys::known;
use super::read::{Load, objects_of};
use super::read_condition::one_target;
use super::read_world::{rate, read_quality};
use super::{Evidence, Fault, Patch, Side, Simple, Verb};

/// How long there is no controller while another one takes over.
const DOWN: Span = Span::seconds(5);

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
        "delete" => one_target(at, "").map(Verb::Delete),
        "patch" => patch(at),
        "ready" => readiness(at, true),
        "unready" => readiness(at, false),
        "load" => load_of(at),
        "metric" => super::metrics::read(at).map(Verb::Metric),
        "terminate" => {
            at.fields(&known("terminate"))?;
            match at.get("experiment") {
                Some(name) if at.get("analysis_run").is_none() => {
                    name.owned().map(Evidence::Experiment).map(Verb::Terminate)
                }
                Some(name) => name.wrong_key("one thing ends at a time: `analysis_run` or `experiment`"),
                None => at.need("analysis_run")?.owned().map(Evidence::Run).map(Verb::Terminate),
            }
        }
        "traffic" => rate(at).map(Verb::Traffic),
        "quality" => read_quality(at).map(Verb::Quality),
        "serve" => at.owned().map(|kind| Verb::Serve(kind, true)),
        "unserve" => at.owned().map(|kind| Verb::Serve(kind, false)),
        "fault" => Fault::read(at).map(Verb::Fault),
        "upgrade_controller" if at.value.is_null() => Ok(Verb::UpgradeController(DOWN)),
        "upgrade_controller" => {
            at.fields(&known("upgrade_controller"))?;
            at.need("down")?.span().map(Verb::UpgradeController)
        }
        "restart_controller" => Ok(Verb::RestartController),
        "note" => at.owned().map(Verb::Note),
        unknown => {
            let error = at.document.error_at_key(&at.path, format!("unknown verb `{unknown}`"));
            Err(error.with_help(format!("verbs: {}", known("verb").join(", "))))
        }
    }
}

fn set_image(at: &Cursor<'_>) -> Read<Verb> {
    at.fields(&known("set_image"))?;
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
    at.fields(&known("undo"))?;
    let to_revision = at.get("to_revision").map_or(Ok(0), |field| field.number())?;
    Ok(Verb::Undo { rollout: at.need("rollout")?.owned()?, to_revision })
}

fn scale(at: &Cursor<'_>) -> Read<Verb> {
    at.fields(&known("scale"))?;
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

fn load_of(at: &Cursor<'_>) -> Read<Verb> {
    at.fields(&known("load"))?;
    Ok(Verb::Load {
        autoscaler: at.need("autoscaler")?.owned()?,
        total: at.need("total")?.number()?,
        per_pod: at.get("per_pod").map_or(Ok(1), |field| field.number())?,
    })
}

fn patch(at: &Cursor<'_>) -> Read<Verb> {
    let target = one_target(at, "patch")?;
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
    let status = at.get("subresource").map_or(Ok(false), |field| field.is_status())?;
    Ok(Verb::Patch { target, patch, status })
}

fn readiness(at: &Cursor<'_>, ready: bool) -> Read<Verb> {
    at.fields(&known("readiness"))?;
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
