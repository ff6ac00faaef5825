//! Volumes and where containers mount them.

use std::collections::BTreeSet;

use super::super::field::{Field, Findings};
use super::super::names;
use crate::problem::Problem;

/// Names of the volumes that can be mounted.
pub(super) type Volumes = BTreeSet<String>;

const MODE: &str = "must be a number between 0 and 0777 (octal), both inclusive";

/// Sources of volumes and the text that each needs to have, where there is one.
const SOURCES: [(&str, &[&str]); 19] = [
    ("emptyDir", &[]),
    ("hostPath", &["path"]),
    ("gitRepo", &["repository"]),
    ("gcePersistentDisk", &["pdName"]),
    ("awsElasticBlockStore", &["volumeID"]),
    ("secret", &["secretName"]),
    ("nfs", &["server", "path"]),
    ("iscsi", &["targetPortal", "iqn"]),
    ("persistentVolumeClaim", &["claimName"]),
    ("downwardAPI", &[]),
    ("fc", &[]),
    ("configMap", &["name"]),
    ("azureFile", &["secretName", "shareName"]),
    ("azureDisk", &["diskName", "diskURI"]),
    ("vsphereVolume", &["volumePath"]),
    ("projected", &[]),
    ("csi", &["driver"]),
    ("ephemeral", &[]),
    ("image", &[]),
];

/// Applies the rules to the volumes of a pod and says which may be mounted. A volume without a source is an empty
/// directory by default.
pub(super) fn rules(field: &Field<'_>, found: &mut Findings) -> Volumes {
    let mut volumes = Volumes::new();
    for volume in field.mappings(found) {
        let set: Vec<_> =
            SOURCES.iter().filter(|(name, _)| volume.get(name).mapping(found).is_some()).collect();
        for (index, (name, needed)) in set.iter().enumerate() {
            let source = volume.get(name);
            match index {
                0 => source_rules(&source, needed, found),
                _ => found.forbidden(&source, "may not specify more than 1 volume type"),
            }
        }
        let name = volume.get("name");
        let text = name.text(found).unwrap_or_default();
        match text {
            "" => found.required(&name, ""),
            _ => found.invalid_each(&name, names::dns_label(text)),
        }
        // A volume with another mistake is known by its name all the same: one mistake, one problem.
        if !text.is_empty() && !volumes.insert(text.to_owned()) {
            found.duplicate(&name, text);
        }
    }
    volumes
}

fn source_rules(source: &Field<'_>, needed: &[&str], found: &mut Findings) {
    for name in needed {
        if source.get(name).text(found).unwrap_or_default().is_empty() {
            found.required(&source.get(name), "");
        }
    }
    let path = source.get("path");
    let text = path.value.as_str().unwrap_or_default();
    if source.place.ends_with(".hostPath") && climbs(text) {
        found.invalid(&path, "must not contain '..'");
    }
    if source.place.ends_with(".nfs") && !text.starts_with('/') {
        found.rule(Problem::invalid(&path.place, text, "must be an absolute path"));
    }
    file_mode(&source.get("defaultMode"), found);
    if !source.place.ends_with(".secret") && !source.place.ends_with(".configMap") {
        return;
    }
    for item in source.get("items").mappings(found) {
        for name in ["key", "path"] {
            if item.get(name).text(found).unwrap_or_default().is_empty() {
                found.required(&item.get(name), "");
            }
        }
        relative_path(&item.get("path"), &item.get("path").place, found);
        file_mode(&item.get("mode"), found);
    }
}

fn file_mode(field: &Field<'_>, found: &mut Findings) {
    if field.int32(found).is_some_and(|mode| !(0..=0o777).contains(&mode)) {
        found.invalid(field, MODE);
    }
}

/// Applies the rules to the mounts of a container. `subPath` is blamed on the list, not on its entry, as in
/// Kubernetes.
pub(super) fn mounts(container: &Field<'_>, volumes: &Volumes, found: &mut Findings) {
    let field = container.get("volumeMounts");
    let devices = container.get("volumeDevices").mappings(found);
    let mut taken = BTreeSet::new();
    for mount in field.mappings(found) {
        let name = mount.get("name");
        let text = name.text(found).unwrap_or_default();
        if text.is_empty() {
            found.required(&name, "");
        } else if !volumes.contains(text) {
            not_found(&name, text, found);
        }
        let path = mount.get("mountPath");
        let at = path.text(found).unwrap_or_default();
        if at.is_empty() {
            found.required(&path, "");
        } else if !taken.insert(at) {
            found.invalid(&path, "must be unique");
        }
        if devices.iter().any(|device| device.get("name").value == text) {
            found.invalid(&name, "must not already exist in volumeDevices");
        }
        mount.get("readOnly").boolean(found);
        let (sub, expression) = (mount.get("subPath"), mount.get("subPathExpr"));
        relative_path(&sub, &format!("{}.subPath", field.place), found);
        if sub.text(found).is_some_and(|s| !s.is_empty())
            && expression.text(found).is_some_and(|s| !s.is_empty())
        {
            found.invalid(&expression, "subPathExpr and subPath are mutually exclusive");
        }
        relative_path(&expression, &format!("{}.subPathExpr", field.place), found);
        found.one_of(&mount.get("mountPropagation"), &["Bidirectional", "HostToContainer", "None"]);
    }
    for device in devices {
        let name = device.get("name");
        let text = name.text(found).unwrap_or_default();
        if text.is_empty() {
            found.required(&name, "");
        } else if !volumes.contains(text) {
            not_found(&name, text, found);
        }
    }
}

/// Notes a name that nothing has.
fn not_found(field: &Field<'_>, name: &str, found: &mut Findings) {
    found.rule(Problem::invalid(&field.place, name, "no volume has this name"));
}

fn relative_path(field: &Field<'_>, path: &str, found: &mut Findings) {
    let text = field.text(found).unwrap_or_default();
    if text.starts_with('/') {
        found.rule(Problem::invalid(path, text, "must be a relative path").at(&field.place));
    }
    if climbs(text) {
        found.rule(Problem::invalid(path, text, "must not contain '..'").at(&field.place));
    }
}

fn climbs(path: &str) -> bool {
    path.split('/').any(|part| part == "..")
}
