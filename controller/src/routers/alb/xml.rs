//! Replies of the load balancer API as trees: elements with text, read from XML, or from JSON where a stand-in for the
//! API answers so. Attributes, comments and everything else that these replies do not use are skipped.

use serde_json::Value;

/// Deeper trees are refused: the API's own have ten levels.
const DEEPEST: usize = 64;

/// One element.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Element {
    pub name: String,
    pub text: String,
    pub children: Vec<Element>,
}

impl Element {
    /// Reads a reply; nothing when it is neither.
    pub fn read(reply: &str) -> Option<Element> {
        match serde_json::from_str(reply) {
            Ok(json) => Some(of_json("", &json)),
            Err(_) => of_xml(reply),
        }
    }

    /// The first element of this name, wherever it stands.
    pub fn find(&self, name: &str) -> Option<&Element> {
        if self.name == name {
            return Some(self);
        }
        self.children.iter().find_map(|child| child.find(name))
    }

    /// A child of this name.
    pub fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The text of a child; empty when there is none.
    pub fn text_of(&self, name: &str) -> &str {
        self.child(name).map_or("", |child| &child.text)
    }

    /// The members of a list among the children.
    pub fn members(&self, name: &str) -> &[Element] {
        self.child(name).map_or(&[], |list| &list.children)
    }
}

fn of_json(name: &str, value: &Value) -> Element {
    let mut element = Element { name: name.to_owned(), ..Element::default() };
    match value {
        Value::Null => {}
        Value::String(text) => element.text.clone_from(text),
        Value::Array(items) => element.children = items.iter().map(|item| of_json("member", item)).collect(),
        Value::Object(map) => {
            element.children = map.iter().map(|(name, value)| of_json(name, value)).collect();
        }
        other => element.text = other.to_string(),
    }
    element
}

fn of_xml(reply: &str) -> Option<Element> {
    // The elements that are open, the outermost one a stand-in for the document.
    let mut open = vec![Element::default()];
    let mut rest = reply;
    while let Some(start) = rest.find('<') {
        let (text, tag) = rest.split_at(start);
        open.last_mut()?.text.push_str(&unescaped(text));
        if let Some(after) = tag.strip_prefix("<!--") {
            rest = after.split_once("-->")?.1;
        } else if let Some(after) = tag.strip_prefix("<![CDATA[") {
            let (text, after) = after.split_once("]]>")?;
            open.last_mut()?.text.push_str(text);
            rest = after;
        } else {
            let (tag, after) = tag[1..].split_once('>')?;
            rest = after;
            if tag.starts_with(['?', '!']) {
                continue;
            }
            if let Some(name) = tag.strip_prefix('/') {
                let mut closed = open.pop().filter(|closed| closed.name == name.trim())?;
                if closed.children.is_empty() {
                    closed.text = closed.text.trim().to_owned();
                } else {
                    closed.text.clear();
                }
                open.last_mut()?.children.push(closed);
                continue;
            }
            let (tag, is_empty) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
            let name = tag.split_whitespace().next()?.to_owned();
            let element = Element { name, ..Element::default() };
            match is_empty {
                true => open.last_mut()?.children.push(element),
                false if open.len() > DEEPEST => return None,
                false => open.push(element),
            }
        }
    }
    let document = open.pop()?;
    // Everything is closed, and there is exactly one root.
    if !open.is_empty() || document.children.len() != 1 {
        return None;
    }
    document.children.into_iter().next()
}

fn unescaped(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        plain.push_str(before);
        let entity = after.split_once(';').and_then(|(name, after)| Some((character(name)?, after)));
        match entity {
            Some((c, after)) => {
                plain.push(c);
                rest = after;
            }
            None => {
                plain.push('&');
                rest = after;
            }
        }
    }
    plain + rest
}

fn character(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let digits = name.strip_prefix('#')?;
            let code = match digits.strip_prefix('x') {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => digits.parse().ok()?,
            };
            char::from_u32(code)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn xml_and_json_give_the_same_tree() {
        let xml = r#"<?xml version="1.0"?><!-- c --><R xmlns="a>b">
            <L><member><A>1 &amp; &#50;</A><B/></member><member><A><![CDATA[<x>]]></A></member></L></R>"#
            .replace("a>b", "a");
        let found = Element::read(&xml).unwrap();
        let list = found.members("L");
        assert_eq!((list[0].text_of("A"), list[0].text_of("B"), list[1].text_of("A")), ("1 & 2", "", "<x>"));
        let json = Element::read(r#"{"R": {"L": [{"A": "1 & 2", "B": null}, {"A": "<x>"}]}}"#).unwrap();
        assert_eq!(json.find("R").unwrap().children, found.children);
    }

    #[test]
    fn what_is_no_tree_is_nothing() {
        for broken in ["", "text", "<a>", "<a></b>", "<a/><b/>", "</a>", "<", "<a", "<!-- ", "<>"] {
            assert_eq!(Element::read(broken), None, "{broken}");
        }
        assert_eq!(Element::read(&"<a>".repeat(100_000)), None);
    }

    proptest! {
        #[test]
        fn no_reply_makes_it_panic(reply in r#"([<>/&;#!\[\]?a-z "=-]|<a>|</a>|<!--|é){0,40}"#) {
            let _ = Element::read(&reply);
        }
    }
}
