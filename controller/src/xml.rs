//! XML replies of AWS: elements, text and nothing else.
//!
//! Attributes, comments and declarations are passed over; entities are the five of the standard and numbers. There is no
//! document type here, and so nothing that expands.

/// Elements are nested no deeper.
const DEEPEST: usize = 64;

/// An element.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Element {
    /// Its name, without a prefix.
    pub name: String,
    /// Its own text.
    pub text: String,
    /// What it holds.
    pub children: Vec<Element>,
}

impl Element {
    /// Reads a document: its outermost element.
    pub fn parse(document: &str) -> Result<Element, String> {
        let mut rest = document;
        // What is open, outermost first; the first one stands for the document.
        let mut open = vec![Element::default()];
        while let Some(at) = rest.find('<') {
            let within = open.last_mut().ok_or("nothing is open")?;
            within.text.push_str(&plain(&rest[..at]));
            rest = &rest[at..];
            if let Some(after) = rest.strip_prefix("<!--") {
                rest = after_of(after, "-->")?;
            } else if let Some(after) = rest.strip_prefix("<![CDATA[") {
                let end = after.find("]]>").ok_or("unclosed CDATA")?;
                within.text.push_str(&after[..end]);
                rest = &after[end + 3..];
            } else if rest.starts_with("<!") {
                return Err("document types are not read".to_owned());
            } else if rest.starts_with("<?") {
                rest = after_of(rest, "?>")?;
            } else {
                let end = rest.find('>').ok_or("unclosed tag")?;
                tag(&rest[1..end], &mut open)?;
                rest = &rest[end + 1..];
            }
        }
        let document = open.pop().ok_or("nothing is open")?;
        if !open.is_empty() {
            return Err(format!("{} is not closed", document.name));
        }
        document.children.into_iter().next().ok_or_else(|| "no element".to_owned())
    }

    /// The first child of this name.
    pub fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.name == name)
    }

    /// All children of this name.
    pub fn all<'e>(&'e self, name: &'e str) -> impl Iterator<Item = &'e Element> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// What lies on this way down; nothing where it ends early.
    pub fn at(&self, way: &[&str]) -> Option<&Element> {
        way.iter().try_fold(self, |element, name| element.child(name))
    }

    /// The text on this way down; empty where there is none.
    pub fn text_at(&self, way: &[&str]) -> &str {
        self.at(way).map(|element| element.text.trim()).unwrap_or_default()
    }
}

fn after_of<'t>(text: &'t str, end: &str) -> Result<&'t str, String> {
    let at = text.find(end).ok_or_else(|| format!("{end} is missing"))?;
    Ok(&text[at + end.len()..])
}

fn tag(tag: &str, open: &mut Vec<Element>) -> Result<(), String> {
    let name_of = |tag: &str| {
        let name = tag.split([' ', '\t', '\n', '\r', '/']).next().unwrap_or_default();
        name.rsplit_once(':').map_or(name, |(_, name)| name).to_owned()
    };
    if let Some(name) = tag.strip_prefix('/') {
        let done = open.pop().filter(|done| !open.is_empty() && done.name == name_of(name.trim()));
        let done = done.ok_or_else(|| format!("</{name}> closes what is not open"))?;
        open.last_mut().ok_or("nothing is open")?.children.push(done);
        return Ok(());
    }
    if open.len() > DEEPEST {
        return Err("elements are nested too deeply".to_owned());
    }
    let element = Element { name: name_of(tag), ..Element::default() };
    if tag.ends_with('/') {
        open.last_mut().ok_or("nothing is open")?.children.push(element);
    } else {
        open.push(element);
    }
    Ok(())
}

/// A text with its entities replaced.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let end = rest.find(';').filter(|end| *end <= 10);
        let meant = end.and_then(|end| entity(&rest[1..end]));
        match (meant, end) {
            (Some(c), Some(end)) => {
                out.push(c);
                rest = &rest[end + 1..];
            }
            _ => {
                out.push('&');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

fn entity(name: &str) -> Option<char> {
    match name {
        "lt" => Some('<'),
        "gt" => Some('>'),
        "amp" => Some('&'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let digits = name.strip_prefix('#')?;
            let code = match digits.strip_prefix('x') {
                Some(digits) => u32::from_str_radix(digits, 16),
                None => digits.parse(),
            };
            char::from_u32(code.ok()?)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn elements_and_their_text() {
        let document = "<?xml version=\"1.0\"?>\n<!-- hi --><a:Reply xmlns=\"x\"><Id n='1'>m&amp;1 &#x41;&#66;&what;</Id>\
                        <Empty/><List><member>1</member><member><![CDATA[<2>]]></member></List></a:Reply>";
        let reply = Element::parse(document).expect("a document");
        assert_eq!(reply.name, "Reply");
        assert_eq!(reply.text_at(&["Id"]), "m&1 AB&what;");
        assert_eq!(reply.text_at(&["Empty"]), "");
        let list = reply.child("List").expect("a list");
        assert_eq!(list.all("member").map(|one| &*one.text).collect::<Vec<_>>(), ["1", "<2>"]);
        assert_eq!(reply.at(&["List", "nothing"]), None);
    }

    #[test]
    fn what_is_no_document() {
        for (text, why) in [
            ("", "no element"),
            ("<a><b></a>", "</a> closes what is not open"),
            ("<a>", "a is not closed"),
            ("</a>", "</a> closes what is not open"),
            ("<!DOCTYPE a>", "document types are not read"),
            ("<a", "unclosed tag"),
        ] {
            assert_eq!(Element::parse(text), Err(why.to_owned()), "{text}");
        }
        assert_eq!(Element::parse(&"<a>".repeat(10_000)), Err("elements are nested too deeply".to_owned()));
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(parts in proptest::collection::vec(
            prop_oneof![Just("<"), Just(">"), Just("/"), Just("a"), Just("&"), Just(";"), Just("#x"), Just("é"), Just("!--"),
                Just("?"), Just("![CDATA["), Just("]]>"), Just(" "), Just(":")], 0..30)) {
            let _ = Element::parse(&parts.concat());
        }
    }
}
