//! Creating, replacing, patching, scaling.

use serde_json::{Value, json};
use tidegate_api::object::{Object, Selector};
use tidegate_api::schema;
use tidegate_controller::plan::Guard;

use super::http::{Refusal, Reply, Request};
use super::ownership::{Dispute, Owner, Ownership};
use super::rules::{self, Problem};
use super::{Server, Target, defaults, shown};
use crate::cluster::patch;
use crate::cluster::store::{Part, outdated};

/// Why an object is written; rules differ a little.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Update,
    Patch,
    Apply,
}

impl Server {
    pub(super) fn create(&mut self, target: &Target, request: &Request) -> Result<Reply, Refusal> {
        let body = request.body.clone().unwrap_or(Value::Null);
        let owner = owner_of(target, request, "Update");
        self.create_from(target, request, body, |server, document| {
            let now = server.stamp();
            let mut ownership = Ownership::default();
            ownership.updated(&owner, &json!({}), document, &ignored(target), &now);
            ownership.put(document);
        })
    }

    fn create_from(
        &mut self,
        target: &Target,
        request: &Request,
        mut document: Value,
        own: impl FnOnce(&Server, &mut Value),
    ) -> Result<Reply, Refusal> {
        let resource = &target.resource;
        rules::decode(resource, &document)?;
        self.strict(target, request, &document)?;
        if resource.namespaced {
            self.in_its_namespace(target, &mut document)?;
        }
        let meta = &mut document["metadata"];
        if meta["resourceVersion"].as_str().is_some_and(|version| !version.is_empty()) {
            return Err(plain("resourceVersion should not be set on objects to be created"));
        }
        if let (None, Some(prefix)) = (text(meta, "name"), text(meta, "generateName")) {
            self.drawn += 1;
            meta["name"] = format!("{prefix}{}", suffix(self.drawn)).into();
        }
        for field in ["uid", "generation", "creationTimestamp", "deletionTimestamp", "managedFields"] {
            forget(meta, field);
        }
        if resource.status {
            forget(&mut document, "status");
        }
        let errors = rules::problems(resource, &self.completed(target, &document));
        document = self.completed(target, &document);
        let name = document["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        if !errors.is_empty() {
            return Err(rules::invalid(&resource.kind_called(), &name, &errors));
        }
        own(self, &mut document);
        let named = Target { name: name.clone(), ..target.again() };
        let object = read(&document)?;
        let outcome = match resource.kind.name() {
            // What a pod begins with is the server's.
            "Pod" => self.store.place(object, self.now),
            _ => self.store.create(object, self.now),
        };
        let change = outcome.map_err(|error| Server::refused(&named, &error))?;
        let mut left = self.remember(&named.key(), &change);
        if request.parameter("dryRun") == "All" {
            forget(&mut left["metadata"], "resourceVersion");
        }
        Ok(Reply::new(201, left))
    }

    fn completed(&mut self, target: &Target, document: &Value) -> Value {
        let mut document = document.clone();
        drop_nulls(&mut document);
        for field in ["labels", "annotations", "finalizers", "ownerReferences"] {
            let value = &document["metadata"][field];
            if value == &json!({}) || value == &json!([]) {
                forget(&mut document["metadata"], field);
            }
        }
        if target.resource.custom {
            let kind = target.resource.kind.name();
            schema::prune(kind, &mut document);
            schema::apply_defaults(kind, &mut document);
        }
        self.drawn += 1;
        defaults::fill(&target.resource.kind, &mut document, self.drawn);
        document
    }

    fn strict(&self, target: &Target, request: &Request, document: &Value) -> Result<(), Refusal> {
        if request.parameter("fieldValidation") != "Strict" || !target.resource.custom {
            return Ok(());
        }
        let kind = target.resource.kind.name();
        let unknown = schema::unknown_fields(kind, document);
        if unknown.is_empty() {
            return Ok(());
        }
        let told: Vec<String> = unknown.iter().map(|field| format!("unknown field \"{field}\"")).collect();
        let version = target.resource.kind.api_version().rsplit('/').next().unwrap_or_default();
        Err(Refusal::bad(format!(
            "{kind} in version \"{version}\" cannot be handled as a {kind}: strict decoding error: {}",
            told.join(", ")
        )))
    }

    fn in_its_namespace(&self, target: &Target, document: &mut Value) -> Result<(), Refusal> {
        let meta = &mut document["metadata"];
        if text(meta, "namespace").is_some_and(|namespace| namespace != target.namespace) {
            return Err(Refusal::bad(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
        meta["namespace"] = target.namespace.as_str().into();
        Ok(())
    }

    pub(super) fn replace(&mut self, target: &Target, request: &Request) -> Result<Reply, Refusal> {
        let body = request.body.clone().unwrap_or(Value::Null);
        rules::decode(&target.resource, &body)?;
        self.strict(target, request, &body)?;
        let owner = owner_of(target, request, "Update");
        self.write(target, request, &owner, By::Update, body)
    }

    pub(super) fn patch(&mut self, target: &Target, request: &Request) -> Result<Reply, Refusal> {
        let body = request.body.clone().unwrap_or(Value::Null);
        if request.content_type.starts_with("application/apply-patch") {
            return self.apply(target, request, &body);
        }
        let held = self.held(target)?;
        let mut document = held.clone();
        apply_patch(request, &body, &mut document)?;
        rules::decode(&target.resource, &document)?;
        let owner = owner_of(target, request, "Update");
        self.write(target, request, &owner, By::Patch, document)
    }

    fn write(
        &mut self,
        target: &Target,
        request: &Request,
        owner: &Owner,
        by: By,
        mut document: Value,
    ) -> Result<Reply, Refusal> {
        let resource = &target.resource;
        let meta = &document["metadata"];
        if let Some(name) = text(meta, "name").filter(|name| *name != target.name) {
            return Err(Refusal::bad(format!(
                "the name of the object ({name}) does not match the name on the URL ({})",
                target.name
            )));
        }
        if resource.namespaced {
            self.in_its_namespace(target, &mut document)?;
        }
        let held = self.held(target)?;
        let mut problems = Vec::new();
        let (old, new) = (&held["metadata"], &document["metadata"]);
        let uid = text(new, "uid").unwrap_or_default();
        if !uid.is_empty() && old["uid"] != uid {
            if by == By::Update {
                return Err(self.other_identity(target, uid, &old["uid"]));
            }
            let problem = Problem::invalid("metadata.uid", &json!(uid), "field is immutable");
            problems.extend([problem.clone(), problem]);
        }
        let version = text(new, "resourceVersion").unwrap_or_default();
        if version.is_empty() && (resource.custom || resource.plural == "leases") && by == By::Update {
            let problem =
                Problem::invalid("metadata.resourceVersion", &json!(0), "must be specified for an update");
            return Err(rules::invalid(&resource.called(), &target.name, &[problem]));
        }
        let number =
            match version {
                "" => None,
                digits => Some(digits.parse::<u64>().map_err(|_| {
                    plain(&format!("strconv.ParseUint: parsing \"{digits}\": invalid syntax"))
                })?),
            };
        if number.is_some() && old["resourceVersion"] != version {
            return Err(Server::refused(target, &outdated(&target.key())));
        }
        for field in [
            "uid",
            "resourceVersion",
            "generation",
            "creationTimestamp",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
        ] {
            carry(old, &mut document["metadata"], field);
        }
        let part = if target.sub == "status" { Part::Status } else { Part::Main };
        match part {
            Part::Status => only_status(target, &held, &mut document),
            Part::Main if resource.status => carry(&held, &mut document, "status"),
            Part::Main => {}
        }
        if resource.plural == "services" {
            for field in ["clusterIP", "clusterIPs"] {
                if document["spec"][field].is_null() {
                    carry(&held["spec"], &mut document["spec"], field);
                }
            }
        }
        let clears = document["metadata"]["managedFields"] == json!([{}])
            || document["metadata"]["managedFields"] == json!([]);
        forget(&mut document["metadata"], "managedFields");
        document = self.completed(target, &document);
        problems.extend(rules::change_problems(resource, &held, &document));
        problems.extend(rules::problems(resource, &document));
        if !problems.is_empty() {
            return Err(rules::invalid(&resource.kind_called(), &target.name, &problems));
        }
        let mut before = held;
        let mut ownership = Ownership::take(&mut before);
        if clears {
            ownership = Ownership::default();
        } else if by != By::Apply {
            ownership.updated(owner, &before, &document, &ignored(target), &self.stamp());
        }
        ownership.put(&mut document);
        let version = document["metadata"]["resourceVersion"].clone();
        let mut reply = self.store_in(target, part, &document)?;
        if request.parameter("dryRun") == "All" {
            reply.body["metadata"]["resourceVersion"] = version;
        }
        Ok(reply)
    }

    /// Stores a document in the place of what is there.
    pub(super) fn store_in(
        &mut self,
        target: &Target,
        part: Part,
        document: &Value,
    ) -> Result<Reply, Refusal> {
        let object = read(document)?;
        let guard =
            Guard::Version { uid: object.meta.uid.clone(), resource_version: object.meta.resource_version };
        let outcome = self.store.update(&target.key(), Some(&guard), part, |held| {
            *held = object;
            Ok(())
        });
        let change = outcome.map_err(|error| Server::refused(target, &error))?;
        if change.after.is_none() && change.gone.is_some() {
            // The object that the last finalizer let go is answered as it was asked to be.
            self.remember(&target.key(), &change);
            return Ok(Reply::new(200, document.clone()));
        }
        let left = self.remember(&target.key(), &change);
        Ok(Reply::new(200, left))
    }

    fn other_identity(&self, target: &Target, wanted: &str, found: &Value) -> Refusal {
        let group = match target.resource.kind.group() {
            "argoproj.io" => "argoproj.io/",
            _ => "",
        };
        let message = format!(
            "Operation cannot be fulfilled on {} \"{}\": StorageError: invalid object, Code: 4, Key: \
             /registry/{group}{}/{}/{}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in \
             precondition: {wanted}, UID in object meta: {}",
            target.resource.called(),
            target.name,
            target.resource.plural,
            target.namespace,
            target.name,
            found.as_str().unwrap_or_default()
        );
        Refusal::new(409, "Conflict", message).with(target.details())
    }

    fn apply(&mut self, target: &Target, request: &Request, body: &Value) -> Result<Reply, Refusal> {
        let manager = request.parameter("fieldManager");
        if manager.is_empty() {
            let problem = Problem::needed("fieldManager", "is required for apply patch");
            return Err(rules::invalid("PatchOptions.meta.k8s.io", "", &[problem]));
        }
        if !body["metadata"]["managedFields"].is_null() {
            return Err(Refusal::bad("metadata.managedFields must be nil"));
        }
        self.declared(target, body)?;
        let owner = owner_of(target, request, "Apply");
        let api_version = target.resource.kind.api_version().to_owned();
        let how = (&ignored(target)[..], request.is_set("force"));
        let mut applied = body.clone();
        let version = text(&body["metadata"], "resourceVersion").map(str::to_owned);
        forget(&mut applied["metadata"], "resourceVersion");
        let Some(held) = self.store.get(&target.key()).map(|object| shown(object)) else {
            return self.create_from(target, request, applied.clone(), |server, document| {
                let mut ownership = Ownership::default();
                let now = server.stamp();
                let done = ownership.apply(&owner, &api_version, &json!({}), &applied, (how.0, true, &now));
                debug_assert!(done.is_ok(), "nobody else owns anything of what is new");
                ownership.put(document);
            });
        };
        if version.is_some_and(|version| held["metadata"]["resourceVersion"] != version) {
            return Err(Server::refused(target, &outdated(&target.key())));
        }
        let mut live = held;
        let mut ownership = Ownership::take(&mut live);
        let now = self.stamp();
        let merged = ownership
            .apply(&owner, &api_version, &live, &applied, (how.0, how.1, &now))
            .map_err(|disputes| disputed(&disputes))?;
        let mut document = self.completed(target, &merged);
        let mut problems = rules::change_problems(&target.resource, &live, &document);
        problems.extend(rules::problems(&target.resource, &document));
        if !problems.is_empty() {
            return Err(rules::invalid(&target.resource.kind_called(), &target.name, &problems));
        }
        ownership.put(&mut document);
        let part = if target.sub == "status" { Part::Status } else { Part::Main };
        self.store_in(target, part, &document)
    }

    /// Only declared fields can be owned.
    fn declared(&self, target: &Target, body: &Value) -> Result<(), Refusal> {
        let known: &[&str] = match target.resource.kind.name() {
            "ConfigMap" => &["data", "binaryData", "immutable"],
            "Secret" => &["data", "stringData", "immutable", "type"],
            "Event" => return Ok(()),
            _ => &["spec", "status"],
        };
        let odd = body.as_object().into_iter().flatten().map(|(name, _)| name).find(|name| {
            !matches!(name.as_str(), "apiVersion" | "kind" | "metadata") && !known.contains(&name.as_str())
        });
        let Some(odd) = odd else { return Ok(()) };
        let api_version = target.resource.kind.api_version();
        let group_version =
            if api_version.contains('/') { api_version.to_owned() } else { format!("/{api_version}") };
        Err(plain(&format!(
            "failed to create typed patch object ({}/{}; {group_version}, Kind={}): .{odd}: field not declared in schema",
            text(&body["metadata"], "namespace").unwrap_or_default(),
            target.name,
            target.resource.kind.name()
        )))
    }

    pub(super) fn read_scale(&self, target: &Target) -> Result<Reply, Refusal> {
        Ok(Reply::new(200, scale_of(target, &self.held(target)?)))
    }

    pub(super) fn write_scale(&mut self, target: &Target, request: &Request) -> Result<Reply, Refusal> {
        let held = self.held(target)?;
        let mut scale = scale_of(target, &held);
        let body = request.body.clone().unwrap_or(Value::Null);
        match request.method {
            super::Method::Put => scale = body,
            _ => apply_patch(request, &body, &mut scale)?,
        }
        let replicas = scale["spec"]["replicas"].as_i64().unwrap_or(0);
        if replicas < 0 {
            return Err(match target.resource.custom {
                true => {
                    let problem = Problem::invalid(
                        ".spec.replicas",
                        &json!(replicas),
                        "should be a non-negative integer",
                    );
                    rules::invalid(&target.resource.kind_called(), &target.name, &[problem])
                }
                false => {
                    let problem = Problem::invalid(
                        "spec.replicas",
                        &json!(replicas),
                        "must be greater than or equal to 0",
                    );
                    rules::invalid("Scale.autoscaling", &target.name, &[problem])
                }
            });
        }
        let mut document = held;
        document["spec"]["replicas"] = replicas.into();
        carry(&scale["metadata"], &mut document["metadata"], "resourceVersion");
        let owner = owner_of(target, request, "Update");
        let whole = Target { sub: String::new(), ..target.again() };
        let reply = self.write(&whole, request, &owner, By::Patch, document)?;
        Ok(Reply::new(reply.code, scale_of(target, &reply.body)))
    }

    fn stamp(&self) -> String {
        self.now.stamp().to_string()
    }
}

impl Target {
    pub(super) fn again(&self) -> Target {
        Target {
            resource: self.resource.clone(),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            sub: self.sub.clone(),
        }
    }
}

fn apply_patch(request: &Request, body: &Value, document: &mut Value) -> Result<(), Refusal> {
    match request.content_type.as_str() {
        "application/json-patch+json" => {
            if !body.is_array() {
                return Err(Refusal::bad(
                    "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp",
                ));
            }
            patch::apply(document, body).map_err(|_| {
                Refusal::new(422, "Invalid", "the server rejected our request due to an error in our request")
                    .with(json!({}))
            })
        }
        "application/merge-patch+json" => {
            if !body.is_object() {
                return Err(Refusal::bad(
                    "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}",
                ));
            }
            patch::merge(document, body);
            Ok(())
        }
        _ => {
            Err(Refusal::new(415, "UnsupportedMediaType", "the body of the request was in an unknown format"))
        }
    }
}

/// A write to the status leaves the rest as it is.
fn only_status(target: &Target, held: &Value, document: &mut Value) {
    let status = document["status"].clone();
    let managed = document["metadata"]["managedFields"].clone();
    let (labels, annotations) =
        (document["metadata"]["labels"].clone(), document["metadata"]["annotations"].clone());
    *document = held.clone();
    if status.is_null() {
        forget(document, "status");
    } else {
        document["status"] = status;
    }
    document["metadata"]["managedFields"] = managed;
    if !target.resource.custom {
        for (field, value) in [("labels", labels), ("annotations", annotations)] {
            if value.is_null() {
                forget(&mut document["metadata"], field);
            } else {
                document["metadata"][field] = value;
            }
        }
    }
}

fn scale_of(target: &Target, object: &Value) -> Value {
    let mut meta = json!({});
    for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        carry(&object["metadata"], &mut meta, field);
    }
    let (replicas, selector) = match target.resource.custom {
        true => ("HPAReplicas", text(&object["status"], "selector").map(str::to_owned)),
        false => {
            let selector = Selector::from_value(std::sync::Arc::new(object["spec"]["selector"].clone()));
            ("replicas", Some(selector.text()))
        }
    };
    let mut status = json!({"replicas": object["status"][replicas].as_i64().unwrap_or(0)});
    if let Some(selector) = selector.filter(|selector| !selector.is_empty()) {
        status["selector"] = selector.into();
    }
    let spec = match object["spec"]["replicas"].as_i64() {
        None | Some(0) => json!({}),
        Some(replicas) => json!({"replicas": replicas}),
    };
    json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": meta, "spec": spec, "status": status})
}

fn owner_of(target: &Target, request: &Request, operation: &str) -> Owner {
    let manager = match request.parameter("fieldManager") {
        "" => request.manager.clone(),
        manager => manager.to_owned(),
    };
    let api_version = if operation == "Apply" { "" } else { target.resource.kind.api_version() };
    Owner {
        operation: operation.to_owned(),
        manager,
        api_version: api_version.to_owned(),
        subresource: target.sub.clone(),
    }
}

/// The half of an object that a write does not touch belongs to nobody through it.
fn ignored(target: &Target) -> Vec<&'static str> {
    match (&*target.sub, target.resource.status, target.resource.custom) {
        ("status", _, true) => vec!["f:spec", "f:metadata"],
        ("status", ..) => vec!["f:spec"],
        (_, true, _) => vec!["f:status"],
        _ => vec![],
    }
}

fn disputed(disputes: &[Dispute]) -> Refusal {
    let causes: Vec<Value> = disputes
        .iter()
        .map(|dispute| {
            json!({"reason": "FieldManagerConflict", "message": format!("conflict with {}", dispute.with),
                "field": dispute.field})
        })
        .collect();
    let message = match disputes {
        [one] => format!("Apply failed with 1 conflict: conflict with {}: {}", one.with, one.field),
        many => {
            let mut message = format!("Apply failed with {} conflicts:", many.len());
            let mut with = "";
            for dispute in many {
                if dispute.with != with {
                    let lead = if with.is_empty() { " " } else { "\n" };
                    message += &format!("{lead}conflicts with {}:", dispute.with);
                    with = &dispute.with;
                }
                message += &format!("\n- {}", dispute.field);
            }
            message
        }
    };
    Refusal::new(409, "Conflict", message).with(json!({"causes": causes}))
}

fn read(document: &Value) -> Result<Object, Refusal> {
    Object::from_value(document.clone()).map_err(|error| Refusal::bad(error.to_string()))
}

/// An error that the server did not think of as one of the client's.
fn plain(message: &str) -> Refusal {
    Refusal::new(500, "", message)
}

pub(super) fn text<'a>(value: &'a Value, field: &str) -> Option<&'a str> {
    value[field].as_str().filter(|text| !text.is_empty())
}

fn forget(value: &mut Value, field: &str) {
    if let Some(map) = value.as_object_mut() {
        map.remove(field);
    }
}

fn carry(from: &Value, to: &mut Value, field: &str) {
    match &from[field] {
        Value::Null => forget(to, field),
        value => to[field] = value.clone(),
    }
}

/// Null is absence.
fn drop_nulls(value: &mut Value) {
    if let Some(map) = value.as_object_mut() {
        map.retain(|_, value| !value.is_null());
        map.values_mut().for_each(drop_nulls);
    }
}

/// Five letters that no other object of the name has.
fn suffix(mut number: u64) -> String {
    const LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
    (0..5)
        .map(|_| {
            let letter = LETTERS[usize::try_from(number % 27).unwrap_or(0)];
            number /= 27;
            char::from(letter)
        })
        .collect()
}
