//! From parser events to JSON values that remember where they stood.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, StrInput, Tag};
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::scalar;
use super::source::{Source, Span};
use super::source_error::SourceError;

/// What one text may grow to. Aliases count as often as they are used, or a kilobyte could fill the memory.
const NODES: usize = 1_000_000;
/// How deep values may be nested: as deep as JSON may be.
const DEPTH: usize = 128;
/// So many bytes of repeated text count as one node.
const BYTES_PER_NODE: usize = 16;

/// Where a value stands, and where those inside it do.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// The value; for one without text of its own on this line, its key.
    pub span: Span,
    /// The key it stands behind, if any.
    pub key: Option<Span>,
    pub inside: Inside,
    /// An empty value, or a block that starts below its key: pointing at the key says more.
    shown_by_key: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Inside {
    Nothing,
    Map(BTreeMap<String, Node>),
    List(Vec<Node>),
}

/// Every document of the text that is not null.
pub(super) fn documents(source: &Arc<Source>, text: &str) -> Result<Vec<(Value, Node)>, SourceError> {
    let (text, shortened) = json_as_yaml(text);
    let mut reader = Reader {
        source,
        chars: text.chars().collect(),
        events: Parser::new_from_str(&text),
        shortened,
        anchors: BTreeMap::new(),
        left: NODES,
    };
    let mut found = Vec::new();
    loop {
        let (event, place) = reader.next()?;
        match event {
            Event::StreamEnd => return Ok(found),
            Event::DocumentStart(_) => reader.anchors.clear(),
            Event::StreamStart | Event::DocumentEnd | Event::Nothing => {}
            event => {
                let tree = reader.tree(event, place, 0)?;
                if !tree.value.is_null() {
                    found.push((tree.value, tree.node));
                }
            }
        }
    }
}

/// A value as it was read, with what it takes to repeat it.
#[derive(Clone)]
struct Tree {
    value: Value,
    node: Node,
    nodes: usize,
    height: usize,
}

/// Character indices of an event: start and end.
type Place = (usize, usize);

struct Reader<'t> {
    source: &'t Source,
    chars: Vec<char>,
    events: Parser<'t, StrInput<'t>>,
    shortened: Vec<usize>,
    anchors: BTreeMap<usize, Tree>,
    left: usize,
}

impl<'t> Reader<'t> {
    fn next(&mut self) -> Result<(Event<'t>, Place), SourceError> {
        match self.events.next_event() {
            None => Ok((Event::StreamEnd, (0, 0))),
            Some(Ok((event, span))) => Ok((event, (span.start.index(), span.end.index()))),
            Some(Err(e)) => Err(self.unreadable(&e)),
        }
    }

    /// Reads the value that `event` starts, down to its end.
    fn tree(&mut self, event: Event<'t>, place: Place, depth: usize) -> Result<Tree, SourceError> {
        self.spend(1, place)?;
        if depth >= DEPTH {
            return Err(self.error(place, format!("values are nested more than {DEPTH} deep")));
        }
        let (tree, anchor) = match event {
            Event::Alias(id) => (self.alias(id, place, depth)?, 0),
            Event::Scalar(text, style, anchor, tag) => {
                (self.scalar(&text, style, tag.as_deref(), place)?, anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                self.only_tag("seq", tag.as_deref(), place)?;
                (self.list(place, depth)?, anchor)
            }
            Event::MappingStart(anchor, tag) => {
                self.only_tag("map", tag.as_deref(), place)?;
                (self.map(place, depth)?, anchor)
            }
            _ => return Err(self.error(place, "a value is missing here")),
        };
        self.remember(anchor, &tree, place)?;
        Ok(tree)
    }

    fn scalar(
        &self,
        text: &str,
        style: ScalarStyle,
        tag: Option<&Tag>,
        place: Place,
    ) -> Result<Tree, SourceError> {
        let value = match tag {
            Some(tag) => scalar::tagged(text, tag),
            None if style == ScalarStyle::Plain => scalar::plain(text),
            None => Ok(Value::String(text.to_owned())),
        };
        let value = value.map_err(|message| self.error(place, message))?;
        let node = Node {
            span: self.span(place),
            key: None,
            inside: Inside::Nothing,
            shown_by_key: place.0 >= place.1,
        };
        Ok(Tree { value, node, nodes: 1 + text.len() / BYTES_PER_NODE, height: 1 })
    }

    fn list(&mut self, start: Place, depth: usize) -> Result<Tree, SourceError> {
        let (mut values, mut inside, mut nodes, mut height) = (Vec::new(), Vec::new(), 1, 1);
        loop {
            let (event, place) = self.next()?;
            if event == Event::SequenceEnd {
                let first = inside.first().map(|node: &Node| node.span);
                let node = self.block_or_flow(start, place, first, Inside::List(inside));
                return Ok(Tree { value: Value::Array(values), node, nodes, height });
            }
            let item = self.tree(event, place, depth + 1)?;
            nodes += item.nodes;
            height = height.max(1 + item.height);
            values.push(item.value);
            inside.push(item.node);
        }
    }

    fn map(&mut self, start: Place, depth: usize) -> Result<Tree, SourceError> {
        let (mut values, mut inside, mut nodes, mut height) = (Map::new(), BTreeMap::new(), 1, 1);
        let mut written: BTreeMap<String, Span> = BTreeMap::new();
        let mut first = None;
        loop {
            let (event, place) = self.next()?;
            if event == Event::MappingEnd {
                let node = self.block_or_flow(start, place, first, Inside::Map(inside));
                return Ok(Tree { value: Value::Object(values), node, nodes, height });
            }
            let key_span = self.span(place);
            first.get_or_insert(key_span);
            let is_merge =
                matches!(&event, Event::Scalar(text, ScalarStyle::Plain, _, None) if text.as_ref() == "<<");
            let key = if is_merge { String::new() } else { self.key(event, place, depth)? };

            let (event, value_place) = self.next()?;
            let mut tree = self.tree(event, value_place, depth + 1)?;
            nodes += 1 + key.len() / BYTES_PER_NODE + tree.nodes;
            height = height.max(1 + tree.height);
            if is_merge {
                for (from, spans) in self.merged(tree, value_place)? {
                    values.extend(from);
                    inside.extend(spans);
                }
                continue;
            }
            if let Some(before) = written.insert(key.clone(), key_span) {
                let place = if before.line == key_span.line {
                    format!("at column {}", before.column)
                } else {
                    format!("on line {}", before.line)
                };
                return Err(SourceError {
                    help: Some("keep one of the two".to_owned()),
                    ..self.source.error(key_span, format!("`{key}` is given twice, first {place}"))
                });
            }
            tree.node.key = Some(key_span);
            if tree.node.shown_by_key {
                tree.node.span = key_span;
            }
            inside.insert(key.clone(), tree.node);
            values.insert(key, tree.value);
        }
    }

    fn key(&mut self, event: Event<'t>, place: Place, depth: usize) -> Result<String, SourceError> {
        if !matches!(event, Event::Scalar(..) | Event::Alias(_)) {
            return Err(advised(self.error(place, "a key must be text, not a map or a list")));
        }
        let tree = self.tree(event, place, depth)?;
        scalar::key(tree.value).map_err(|message| self.error(place, message))
    }

    /// What stands behind `<<`, to be laid over the map in this order: of several maps, the first wins. As
    /// `kubectl` does it, a key written before the `<<` is overwritten and one written after it stays.
    fn merged(&self, tree: Tree, place: Place) -> Result<Vec<Pairs>, SourceError> {
        let pairs = match (tree.value, tree.node.inside) {
            (Value::Object(values), Inside::Map(spans)) => Some(vec![(values, spans)]),
            (Value::Array(values), Inside::List(nodes)) => values
                .into_iter()
                .zip(nodes)
                .rev()
                .map(|pair| match pair {
                    (Value::Object(values), Node { inside: Inside::Map(spans), .. }) => Some((values, spans)),
                    _ => None,
                })
                .collect(),
            _ => None,
        };
        pairs.ok_or_else(|| self.error(place, "`<<` merges a map or a list of maps, nothing else"))
    }

    fn alias(&mut self, id: usize, place: Place, depth: usize) -> Result<Tree, SourceError> {
        let Some(anchored) = self.anchors.get(&id) else {
            return Err(self.error(place, "this alias has no finished anchor before it in this document"));
        };
        if depth + anchored.height > DEPTH {
            return Err(self.error(place, format!("values are nested more than {DEPTH} deep")));
        }
        let nodes = anchored.nodes;
        self.spend(nodes, place)?;
        let mut tree = self.anchors[&id].clone();
        // A problem with the value as a whole is shown where it is used, one inside it where it is written.
        tree.node = Node { span: self.span(place), key: None, shown_by_key: false, ..tree.node };
        Ok(tree)
    }

    fn remember(&mut self, anchor: usize, tree: &Tree, place: Place) -> Result<(), SourceError> {
        if anchor > 0 {
            self.spend(tree.nodes, place)?;
            self.anchors.insert(anchor, tree.clone());
        }
        Ok(())
    }

    fn spend(&mut self, nodes: usize, place: Place) -> Result<(), SourceError> {
        match self.left.checked_sub(nodes) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => {
                Err(self.error(place, format!("with its aliases, this text holds more than {NODES} values")))
            }
        }
    }

    fn only_tag(&self, kind: &str, tag: Option<&Tag>, place: Place) -> Result<(), SourceError> {
        match tag {
            Some(tag) if scalar::core_name(tag) != Some(kind) => {
                let (tag, kind) = (scalar::tag_text(tag), if kind == "map" { "map" } else { "list" });
                Err(self.error(place, format!("the tag {tag} has no meaning on a {kind}")))
            }
            _ => Ok(()),
        }
    }

    fn block_or_flow(&self, start: Place, end: Place, first: Option<Span>, inside: Inside) -> Node {
        // The start covers properties and the bracket with the space behind it, or no bracket at all.
        let before = self.chars.get(start.0..start.1).unwrap_or_default();
        let is_flow = before.iter().rev().find(|c| !c.is_whitespace()).is_some_and(|c| "{[".contains(*c));
        let own = if is_flow { self.span((start.0, end.1)) } else { self.span(start) };
        Node {
            span: if is_flow { own } else { first.unwrap_or(own) },
            key: None,
            inside,
            shown_by_key: !is_flow,
        }
    }

    fn span(&self, place: Place) -> Span {
        self.source.span(self.original(place.0), self.original(place.1))
    }

    fn original(&self, index: usize) -> usize {
        index + 2 * self.shortened.partition_point(|after| *after <= index)
    }

    fn error(&self, place: Place, message: impl Into<String>) -> SourceError {
        self.source.error(self.span(place), message)
    }

    fn unreadable(&self, e: &ScanError) -> SourceError {
        let at = e.marker().index();
        let info = e.info();
        // "while parsing a node, did not find …": the first half only names the parser's state.
        let message = match info.strip_prefix("while ").and_then(|rest| rest.split_once(", ")) {
            Some((_, what)) => what,
            None => info,
        };
        advised(self.error((at, at), message))
    }
}

/// With advice, if the line shows what went wrong.
fn advised(error: SourceError) -> SourceError {
    let line = error.source_line.clone();
    let indent = line.len() - line.trim_start().len();
    if line.contains("{{") {
        error.with_help("this looks like a template: render it first")
    } else if line[..indent].contains('\t') {
        error.with_help("YAML is indented with spaces, not with tabs")
    } else {
        error
    }
}

type Pairs = (Map<String, Value>, BTreeMap<String, Node>);

/// YAML is nearly a superset of JSON. Where it is not, JSON is rewritten: two `\u` escapes for one character beyond
/// 16 bits become one `\U` escape, two characters shorter; a tab between values becomes a space. Answers the text
/// and the indices behind each shortened place.
fn json_as_yaml(text: &str) -> (Cow<'_, str>, Vec<usize>) {
    let is_rewritten = text.trim_start().starts_with(['{', '['])
        && (text.contains("\\u") || text.contains('\t'))
        && serde_json::from_str::<IgnoredAny>(text).is_ok();
    if !is_rewritten {
        return (Cow::Borrowed(text), Vec::new());
    }
    let half = |text: &str| {
        let digits = text.strip_prefix("\\u")?.get(..4)?;
        u32::from_str_radix(digits, 16).ok()
    };
    let (mut out, mut shortened, mut index) = (String::new(), Vec::new(), 0);
    let (mut rest, mut is_string) = (text, false);
    while let Some(c) = rest.chars().next() {
        let pair = (half(rest), rest.get(6..).and_then(half));
        let length = match (c, pair) {
            ('\\', (Some(high @ 0xd800..=0xdbff), Some(low @ 0xdc00..=0xdfff))) => {
                let whole = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                out.push_str(&format!("\\U{whole:08x}"));
                index += 10;
                shortened.push(index);
                rest = &rest[12..];
                continue;
            }
            // The character behind the backslash belongs to it; in JSON it is a single byte.
            ('\\', _) => 2,
            _ => c.len_utf8(),
        };
        is_string ^= c == '"';
        let (piece, after) = rest.split_at_checked(length).unwrap_or((rest, ""));
        out.push_str(if piece == "\t" && !is_string { " " } else { piece });
        index += piece.chars().count();
        rest = after;
    }
    (Cow::Owned(out), shortened)
}
