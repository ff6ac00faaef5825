//! Whether an image name says `latest`, the way a container runtime reads it.

/// The pull policy that the API server fills in: `Always` for the tag `latest`, spoken or silent. A name that no
/// runtime would accept has no tag.
pub(crate) fn default_pull_policy(image: &str) -> &'static str {
    match tag(image) {
        Some("latest") => "Always",
        _ => "IfNotPresent",
    }
}

/// The tag of an image, `latest` if it has neither tag nor digest; none if it has only a digest or is malformed.
fn tag(image: &str) -> Option<&str> {
    if image.len() == 64 && image.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        return None; // an image id, not a name
    }
    let (domain, rest) = split_domain(image);
    let (rest, digest) = match rest.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (rest, None),
    };
    let (path, tag) = match rest.split_once(':') {
        Some((path, tag)) => (path, Some(tag)),
        None => (rest, None),
    };
    let name_length = domain.map_or("docker.io/".len(), |domain| domain.len() + 1) + path.len();
    let well_formed = domain.is_none_or(is_domain)
        && path.split('/').all(is_path_component)
        && name_length <= 255
        && tag.is_none_or(is_tag)
        && digest.is_none_or(is_digest);
    match (well_formed, tag, digest) {
        (false, ..) | (true, None, Some(_)) => None,
        (true, Some(tag), _) => Some(tag),
        (true, None, None) => Some("latest"),
    }
}

/// The registry, if the part before the first slash can only be one.
fn split_domain(image: &str) -> (Option<&str>, &str) {
    match image.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':']) || first == "localhost" || first.to_lowercase() != first =>
        {
            (Some(first), rest)
        }
        _ => (None, image),
    }
}

fn is_domain(domain: &str) -> bool {
    let (host, port) = match domain.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => {
            let is_address =
                !address.is_empty() && address.bytes().all(|b| b.is_ascii_hexdigit() || b == b':');
            if !is_address {
                return false;
            }
            ("localhost", port)
        }
        None => domain.split_at(domain.find(':').unwrap_or(domain.len())),
    };
    let port_fits = port.is_empty()
        || port.strip_prefix(':').is_some_and(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_digit()));
    port_fits
        && host.split('.').all(|part| {
            !part.is_empty()
                && !part.starts_with('-')
                && !part.ends_with('-')
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        })
}

/// Lower-case words joined by one dot, one or two underscores, or any number of dashes.
fn is_path_component(part: &str) -> bool {
    let is_word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let mut separator = String::new();
    let mut bytes = part.bytes().peekable();
    if !bytes.peek().is_some_and(|b| is_word(*b)) {
        return false;
    }
    for byte in bytes {
        if is_word(byte) {
            let joins =
                matches!(separator.as_str(), "" | "." | "_" | "__") || separator.bytes().all(|b| b == b'-');
            if !joins {
                return false;
            }
            separator.clear();
        } else if matches!(byte, b'.' | b'_' | b'-') {
            separator.push(char::from(byte));
        } else {
            return false;
        }
    }
    separator.is_empty()
}

fn is_tag(tag: &str) -> bool {
    let is_word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    (1..=128).contains(&tag.len())
        && tag.bytes().next().is_some_and(is_word)
        && tag.bytes().all(|b| is_word(b) || matches!(b, b'.' | b'-'))
}

fn is_digest(digest: &str) -> bool {
    let Some((algorithm, hex)) = digest.split_once(':') else { return false };
    let is_hex = hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let length = match algorithm {
        "sha256" => 64,
        "sha384" => 96,
        "sha512" => 128,
        _ => return false,
    };
    is_hex && hex.len() == length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_latest_is_always_pulled() {
        let check = |image: &str, want: &str| assert_eq!(default_pull_policy(image), want, "{image}");
        let digest = format!("sha256:{}", "0".repeat(64));
        check("nginx", "Always");
        check("nginx:latest", "Always");
        check("nginx:1.19", "IfNotPresent");
        check("registry:5000/team/app", "Always");
        check("registry:5000/team/app:v1", "IfNotPresent");
        check("localhost/app", "Always");
        check("[::1]:5000/app", "Always");
        check(&format!("nginx@{digest}"), "IfNotPresent");
        check(&format!("nginx:latest@{digest}"), "Always");
        check("", "IfNotPresent");
        check("UPPER", "IfNotPresent");
        check("UPPER/lower", "Always");
        check("a//b", "IfNotPresent");
        check("a__b/c--d", "Always");
        check("a___b", "IfNotPresent");
        check("nginx:latest@sha256:12", "IfNotPresent");
        check(&"0".repeat(64), "IfNotPresent");
        check("a:b:c", "IfNotPresent");
        check(&"a".repeat(246), "IfNotPresent");
    }
}
