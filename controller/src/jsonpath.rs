//! Paths into JSON documents, in the dialect of kubectl: a template of text and actions in braces.
//!
//! Not RFC 9535: `$` and `@` may be left out, actions stand beside text, `range` repeats, a negative index counts from the
//! end, and a field that nothing has is an error. What a template finds comes in groups, one for each action.

use serde_json::Value;

/// No template is nested deeper, and none is longer.
const DEEPEST: usize = 32;
const LONGEST: usize = 16 * 1024;
/// No template finds more.
const MOST: usize = 1_000_000;

/// A template that was read.
#[derive(Clone, PartialEq, Debug)]
pub struct JsonPath {
    parts: Vec<Part>,
}

#[derive(Clone, PartialEq, Debug)]
enum Part {
    Text(String),
    Action(Vec<Node>),
    Range(Vec<Node>, Vec<Part>),
}

#[derive(Clone, PartialEq, Debug)]
enum Node {
    Literal(Value),
    Field(String),
    Wildcard,
    Recursive,
    Slice { from: Option<i64>, to: Option<i64>, step: Option<i64> },
    At(i64),
    Union(Vec<Vec<Node>>),
    Filter { left: Vec<Node>, test: Option<(String, Vec<Node>)> },
}

impl JsonPath {
    /// Reads a template.
    pub fn parse(template: &str) -> Result<JsonPath, String> {
        if template.len() > LONGEST {
            return Err(format!("template is longer than {LONGEST} bytes"));
        }
        let mut parser = Parser { rest: template };
        let parts = parser.parts(0, false)?;
        Ok(JsonPath { parts })
    }

    /// What the template finds: a group for each action and each text.
    pub fn find(&self, document: &Value) -> Result<Vec<Vec<Value>>, String> {
        let mut groups = Vec::new();
        let mut budget = Budget(MOST);
        run(&self.parts, document, &mut groups, &mut budget)?;
        Ok(groups)
    }

    /// The first value that the template finds.
    pub fn first(&self, document: &Value) -> Result<Option<Value>, String> {
        Ok(self.find(document)?.into_iter().flatten().next())
    }
}

struct Parser<'t> {
    rest: &'t str,
}

impl Parser<'_> {
    /// Text and actions up to the end, or up to `{end}` inside a range.
    fn parts(&mut self, depth: usize, in_range: bool) -> Result<Vec<Part>, String> {
        if depth > DEEPEST {
            return Err("template is nested too deeply".to_owned());
        }
        let mut parts = Vec::new();
        loop {
            let Some(open) = self.rest.find('{') else {
                if in_range {
                    return Err("unclosed range: {end} is missing".to_owned());
                }
                if !self.rest.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut self.rest).to_owned()));
                }
                return Ok(parts);
            };
            if open > 0 {
                parts.push(Part::Text(self.rest[..open].to_owned()));
            }
            let close = closing(&self.rest[open + 1..], '}').ok_or("unclosed action")?;
            let inside = self.rest[open + 1..open + 1 + close].trim();
            self.rest = &self.rest[open + close + 2..];
            if inside == "end" {
                if in_range {
                    return Ok(parts);
                }
                return Err("not in range, nothing to end".to_owned());
            }
            match inside.strip_prefix("range").filter(|rest| rest.starts_with([' ', '.', '[', '$', '@'])) {
                Some(over) => {
                    let over = nodes(over, depth)?;
                    let body = self.parts(depth + 1, true)?;
                    parts.push(Part::Range(over, body));
                }
                None => parts.push(Part::Action(nodes(inside, depth)?)),
            }
        }
    }
}

/// Where a bracket closes that was opened just before this text; quotes and inner brackets are skipped.
fn closing(text: &str, close: char) -> Option<usize> {
    let mut quote = None;
    let mut inner = 0_usize;
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            _ if escaped => escaped = false,
            (_, '\\') => escaped = true,
            (Some(open), c) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(c),
            (None, c) if c == close && inner == 0 => return Some(at),
            (None, '[' | '(') => inner += 1,
            (None, ']' | ')') => inner = inner.checked_sub(1)?,
            (None, _) => {}
        }
    }
    None
}

/// Where a quote ends that was opened just before this text.
fn quote_end(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    let mut ends = |c: char| {
        let ends = c == quote && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    };
    text.char_indices().find(|(_, c)| ends(*c)).map(|(at, _)| at)
}

/// Splits at commas that stand outside of quotes and brackets.
fn alternatives(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(at) = closing(rest, ',') {
        found.push(&rest[..at]);
        rest = &rest[at + 1..];
    }
    found.push(rest);
    found
}

fn nodes(text: &str, depth: usize) -> Result<Vec<Node>, String> {
    if depth > DEEPEST {
        return Err("template is nested too deeply".to_owned());
    }
    let mut nodes = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        match c {
            ' ' | '\t' | '\n' | '$' | '@' => rest = after,
            '\'' | '"' => {
                let end =
                    quote_end(after, c).ok_or_else(|| format!("unterminated quoted string in {text:?}"))?;
                nodes.push(Node::Literal(unescaped(&after[..end]).into()));
                rest = &after[end + 1..];
            }
            '.' if after.starts_with('.') => {
                nodes.push(Node::Recursive);
                let next = after[1..].chars().next();
                let is_name = next.is_some_and(|c| !matches!(c, '.' | '[' | ' '));
                rest = if is_name { after } else { &after[1..] };
            }
            '.' => {
                let end = name_end(after);
                match &after[..end] {
                    "" => {}
                    "*" => nodes.push(Node::Wildcard),
                    name => nodes.push(Node::Field(unescaped(name))),
                }
                rest = &after[end..];
            }
            '[' => {
                let end = closing(after, ']').ok_or("unterminated array")?;
                nodes.push(array(after[..end].trim(), depth + 1)?);
                rest = &after[end + 1..];
            }
            '*' => {
                nodes.push(Node::Wildcard);
                rest = after;
            }
            '0'..='9' | '+' | '-' => {
                let end =
                    rest[1..].find(|c: char| !c.is_ascii_digit() && c != '.').map_or(rest.len(), |at| at + 1);
                let number: Value = match rest[..end].trim_start_matches('+').parse::<i64>() {
                    Ok(whole) => whole.into(),
                    Err(_) => rest[..end]
                        .parse::<f64>()
                        .map_err(|_| format!("cannot parse number {}", &rest[..end]))?
                        .into(),
                };
                nodes.push(Node::Literal(number));
                rest = &rest[end..];
            }
            c if c.is_alphanumeric() || c == '_' => {
                let end = name_end(rest);
                nodes.push(match &rest[..end] {
                    "true" => Node::Literal(true.into()),
                    "false" => Node::Literal(false.into()),
                    "null" => Node::Literal(Value::Null),
                    // kubectl takes a path without its dot.
                    name if nodes.is_empty() => Node::Field(unescaped(name)),
                    name => return Err(format!("unrecognized identifier {name}")),
                });
                rest = &rest[end..];
            }
            c => return Err(format!("unrecognized character in action: {c:?}")),
        }
    }
    Ok(nodes)
}

/// Where the name of a field ends; a backslash takes the next character into it.
fn name_end(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ' ' | '.' | '[' | ']' | '(' | ')' | ',' | '=' | '!' | '<' | '>' | '\'' | '"' => return at,
            _ => {}
        }
    }
    text.len()
}

fn unescaped(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('n') => out.push('\n'),
                Some('t') => out.push('\t'),
                Some(c) => out.push(c),
                None => out.push('\\'),
            },
            c => out.push(c),
        }
    }
    out
}

/// What stands between square brackets.
fn array(text: &str, depth: usize) -> Result<Node, String> {
    if text == "*" || text == ":" {
        return Ok(Node::Slice { from: None, to: None, step: None });
    }
    if let Some(inside) = text.strip_prefix("?(") {
        let end = closing(inside, ')').ok_or("unterminated filter")?;
        if !inside[end + 1..].trim().is_empty() {
            return Err(format!("unclosed array expect ], in [{text}]"));
        }
        return filter(&inside[..end], depth);
    }
    let several = alternatives(text);
    if several.len() > 1 {
        let each = several.into_iter().map(|one| Ok(vec![array(one.trim(), depth + 1)?]));
        return Ok(Node::Union(each.collect::<Result<_, String>>()?));
    }
    for quote in ['\'', '"'] {
        if let Some(name) = text.strip_prefix(quote).and_then(|text| text.strip_suffix(quote)) {
            return Ok(Node::Field(unescaped(name)));
        }
    }
    let invalid = || format!("invalid array index [{text}]");
    let bound = |text: &str| match text.trim() {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| invalid()),
    };
    let bounds: Vec<&str> = text.split(':').collect();
    match &bounds[..] {
        [index] => Ok(Node::At(bound(index)?.ok_or_else(invalid)?)),
        [from, to] => Ok(Node::Slice { from: bound(from)?, to: bound(to)?, step: None }),
        [from, to, step] => Ok(Node::Slice { from: bound(from)?, to: bound(to)?, step: bound(step)? }),
        _ => Err(invalid()),
    }
}

fn filter(text: &str, depth: usize) -> Result<Node, String> {
    const SIGNS: [char; 4] = ['!', '<', '>', '='];
    let mut quote = None;
    let at = text.char_indices().find(|(_, c)| match quote {
        Some(open) => {
            if *c == open {
                quote = None;
            }
            false
        }
        None => {
            if matches!(c, '\'' | '"') {
                quote = Some(*c);
            }
            SIGNS.contains(c)
        }
    });
    let Some((at, _)) = at else {
        return Ok(Node::Filter { left: nodes(text, depth)?, test: None });
    };
    let end = text[at..].find(|c| !SIGNS.contains(&c)).map_or(text.len(), |length| at + length);
    let sign = &text[at..end];
    if !matches!(sign, "<" | ">" | "==" | "!=" | "<=" | ">=") {
        return Err(format!("unrecognized filter operator {sign}"));
    }
    let right = nodes(&text[end..], depth)?;
    Ok(Node::Filter { left: nodes(&text[..at], depth)?, test: Some((sign.to_owned(), right)) })
}

struct Budget(usize);

impl Budget {
    fn spend(&mut self, amount: usize) -> Result<(), String> {
        self.0 = self.0.checked_sub(amount).ok_or("template finds too much")?;
        Ok(())
    }
}

fn run(parts: &[Part], at: &Value, groups: &mut Vec<Vec<Value>>, budget: &mut Budget) -> Result<(), String> {
    for part in parts {
        budget.spend(1)?;
        match part {
            Part::Text(text) => groups.push(vec![text.as_str().into()]),
            Part::Action(nodes) => {
                groups.push(walk(nodes, at, budget)?.into_iter().map(Found::into).collect())
            }
            Part::Range(over, body) => {
                for found in walk(over, at, budget)? {
                    run(body, found.get(), groups, budget)?;
                }
            }
        }
    }
    Ok(())
}

/// A value of the document, or one of the template.
enum Found<'d> {
    There(&'d Value),
    Here(&'d Value),
}

impl<'d> Found<'d> {
    fn get(&self) -> &'d Value {
        match self {
            Found::There(value) | Found::Here(value) => value,
        }
    }
}

impl From<Found<'_>> for Value {
    fn from(found: Found<'_>) -> Value {
        found.get().clone()
    }
}

fn walk<'d>(nodes: &'d [Node], start: &'d Value, budget: &mut Budget) -> Result<Vec<Found<'d>>, String> {
    let mut current = vec![Found::There(start)];
    for node in nodes {
        let mut next = Vec::new();
        for found in &current {
            budget.spend(1)?;
            step(node, found.get(), &mut next, budget)?;
        }
        if let Node::Field(name) = node
            && next.is_empty()
        {
            return Err(format!("{name} is not found"));
        }
        current = next;
    }
    Ok(current)
}

fn step<'d>(
    node: &'d Node,
    value: &'d Value,
    out: &mut Vec<Found<'d>>,
    budget: &mut Budget,
) -> Result<(), String> {
    let list =
        |what: &str| value.as_array().ok_or_else(|| format!("{} is not array or slice{what}", short(value)));
    match node {
        Node::Literal(value) => out.push(Found::Here(value)),
        Node::Field(name) => out.extend(value.get(name.as_str()).map(Found::There)),
        Node::Wildcard => out.extend(children(value).map(Found::There)),
        Node::Recursive => descend(value, out, budget)?,
        Node::At(index) => {
            let items = list("")?;
            let length = items.len();
            let at = from_end(*index, length);
            let item = usize::try_from(at).ok().and_then(|at| items.get(at));
            let missing = || format!("array index out of bounds: index {at}, length {length}");
            out.push(Found::There(item.ok_or_else(missing)?));
        }
        Node::Slice { from, to, step } => {
            let items = list("")?;
            let taken = slice(items, *from, *to, *step)?;
            out.extend(taken.into_iter().map(Found::There));
        }
        Node::Union(each) => {
            for nodes in each {
                out.extend(walk(nodes, value, budget)?);
            }
        }
        Node::Filter { left, test } => {
            for item in list(" and cannot be filtered")? {
                if passes(item, left, test.as_ref(), budget)? {
                    out.push(Found::There(item));
                }
            }
        }
    }
    Ok(())
}

fn children(value: &Value) -> impl Iterator<Item = &Value> {
    let items = value.as_array().into_iter().flatten();
    items.chain(value.as_object().into_iter().flat_map(|map| map.values()))
}

/// A value and everything in it. Documents are no deeper than their reader allows.
fn descend<'d>(value: &'d Value, out: &mut Vec<Found<'d>>, budget: &mut Budget) -> Result<(), String> {
    budget.spend(1)?;
    out.push(Found::There(value));
    children(value).try_for_each(|child| descend(child, out, budget))
}

fn from_end(index: i64, length: usize) -> i64 {
    if index < 0 { index.saturating_add(length as i64) } else { index }
}

fn slice(
    items: &[Value],
    from: Option<i64>,
    to: Option<i64>,
    step: Option<i64>,
) -> Result<Vec<&Value>, String> {
    let length = items.len();
    let from = from_end(from.unwrap_or(0), length);
    let to = from_end(to.unwrap_or(length as i64), length);
    if from == to {
        return Ok(Vec::new());
    }
    let inside = |index: i64, end: bool| {
        let at = usize::try_from(index).ok().filter(|at| *at < length || (end && *at == length));
        at.ok_or_else(|| {
            let index = if end { index - 1 } else { index };
            format!("array index out of bounds: index {index}, length {length}")
        })
    };
    let (from, to) = (inside(from, false)?, inside(to, true)?);
    if from > to {
        return Err(format!("starting index {from} is greater than ending index {to}"));
    }
    let step = match step {
        None => 1,
        Some(step) => usize::try_from(step).ok().filter(|step| *step > 0).ok_or("step must be > 0")?,
    };
    Ok(items[from..to].iter().step_by(step).collect())
}

fn passes(
    item: &Value,
    left: &[Node],
    test: Option<&(String, Vec<Node>)>,
    budget: &mut Budget,
) -> Result<bool, String> {
    // What an entry does not have makes it no match, not an error.
    let found = |nodes, budget: &mut Budget| match walk(nodes, item, budget) {
        Err(why) if why.ends_with(" is not found") => Ok(Vec::new()),
        found => found,
    };
    let left = found(left, budget)?;
    let Some((sign, right)) = test else { return Ok(!left.is_empty()) };
    let right = found(right, budget)?;
    match (&left[..], &right[..]) {
        ([], _) | (_, []) => Ok(false),
        ([left], [right]) => compare(left.get(), sign, right.get()),
        _ => Err("can only compare one element at a time".to_owned()),
    }
}

// ARGO: in documents from outside every number is a float, and the reference refuses to compare one with a whole number.
fn compare(left: &Value, sign: &str, right: &Value) -> Result<bool, String> {
    let order = match (left, right) {
        (Value::Number(left), Value::Number(right)) => left.as_f64().partial_cmp(&right.as_f64()),
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        (Value::Bool(left), Value::Bool(right)) if matches!(sign, "==" | "!=") => Some(left.cmp(right)),
        _ => return Err("incompatible types for comparison".to_owned()),
    };
    Ok(match (sign, order) {
        ("!=", order) => order != Some(std::cmp::Ordering::Equal),
        (_, None) => false,
        ("==", Some(order)) => order.is_eq(),
        ("<", Some(order)) => order.is_lt(),
        ("<=", Some(order)) => order.is_le(),
        (">", Some(order)) => order.is_gt(),
        (_, Some(order)) => order.is_ge(),
    })
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    text.char_indices().nth(80).map_or(text.clone(), |(at, _)| format!("{}…", &text[..at]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// The document of kubectl's own page about this dialect.
    fn documented() -> Value {
        json!({"kind": "List",
            "items": [
                {"kind": "None", "metadata": {"name": "127.0.0.1", "labels": {"kubernetes.io/hostname": "127.0.0.1"}},
                    "status": {"capacity": {"cpu": "4"}, "addresses": [{"type": "LegacyHostIP", "address": "127.0.0.1"}]}},
                {"kind": "None", "metadata": {"name": "127.0.0.2"},
                    "status": {"capacity": {"cpu": "8"}, "addresses": [
                        {"type": "LegacyHostIP", "address": "127.0.0.2"},
                        {"type": "another", "address": "127.0.0.3"}]}}],
            "users": [{"name": "myself", "user": {}},
                {"name": "e2e", "user": {"username": "admin", "password": "secret"}}],
            "numbers": [5, 10.5, 20], "flag": [true, false]})
    }

    /// As kubectl prints it: values of a group with spaces between, groups without.
    fn printed(template: &str) -> String {
        let found = JsonPath::parse(template).and_then(|path| path.find(&documented()));
        let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        match found {
            Ok(groups) => groups
                .iter()
                .map(|group| group.iter().map(text).collect::<Vec<_>>().join(" "))
                .collect::<String>(),
            Err(why) => format!("error: {why}"),
        }
    }

    #[test]
    fn the_documented_examples() {
        for (template, expected) in [
            ("kind is {.kind}", "kind is List"),
            ("{.kind}", "List"),
            ("{$.kind}", "List"),
            ("{@.kind}", "List"),
            ("{.['kind']}", "List"),
            ("{['kind']}", "List"),
            ("{..name}", "127.0.0.1 127.0.0.2 myself e2e"),
            ("{.items[*].metadata.name}", "127.0.0.1 127.0.0.2"),
            ("{.users[0].name}", "myself"),
            ("{.users[-1].name}", "e2e"),
            ("{.users[-2:].name}", "myself e2e"),
            ("{.numbers[0:3:2]}", "5 20"),
            ("{.numbers[:2]}", "5 10.5"),
            ("{.items[*]['metadata.name', 'kind']}", "error: metadata.name is not found"),
            ("{.items[*]['metadata','kind']['name']}", "127.0.0.1 127.0.0.2"),
            ("{.users[?(@.name==\"e2e\")].user.password}", "secret"),
            ("{.users[?(@.name=='e2e')].user.username}", "admin"),
            ("{.items[0].metadata.labels.kubernetes\\.io/hostname}", "127.0.0.1"),
            (
                "{range .items[*]}[{.metadata.name}, {.status.capacity.cpu}] {end}",
                "[127.0.0.1, 4] [127.0.0.2, 8] ",
            ),
            ("{range .items[*]}{.metadata.name}{\"\\t\"}{end}", "127.0.0.1\t127.0.0.2\t"),
            (
                "{.items[?(@.status.addresses[1])].metadata.name}",
                "error: array index out of bounds: index 1, length 1",
            ),
            ("{.users[?(@.user.username)].name}", "e2e"),
            ("{.numbers[?(@ > 5)]}", "10.5 20"),
            ("{.numbers[?(@ <= 10.5)]}", "5 10.5"),
            ("{.flag[?(@ == true)]}", "true"),
            ("{.numbers[0,2]}", "5 20"),
            ("{.items[*].status.addresses[?(@.type != 'another')].address}", "127.0.0.1 127.0.0.2"),
            ("{ .kind }", "List"),
            ("{.items..cpu}", "4 8"),
            ("{.users[1].user.*}", "secret admin"),
            ("{'text'}{\"{}\"}{5}{true}", "text{}5true"),
        ] {
            assert_eq!(printed(template), expected, "{template}");
        }
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (template, expected) in [
            ("{.nothing}", "error: nothing is not found"),
            ("{.kind.deeper}", "error: deeper is not found"),
            ("{.users[9]}", "error: array index out of bounds: index 9, length 2"),
            ("{.users[-9]}", "error: array index out of bounds: index -7, length 2"),
            ("{.numbers[2:1]}", "error: starting index 2 is greater than ending index 1"),
            ("{.numbers[0:3:0]}", "error: step must be > 0"),
            ("{.kind[0]}", "error: \"List\" is not array or slice"),
            ("{.users[?(@.name==5)]}", "error: incompatible types for comparison"),
            ("{.users[?(@.name=5)]}", "error: unrecognized filter operator ="),
            ("{.kind", "error: unclosed action"),
            ("{.users[0", "error: unclosed action"),
            ("{.users[x]}", "error: invalid array index [x]"),
            ("{range .users[*]}x", "error: unclosed range: {end} is missing"),
            ("{end}", "error: not in range, nothing to end"),
            ("{.kind}}", "List}"),
            ("{;}", "error: unrecognized character in action: ';'"),
        ] {
            assert_eq!(printed(template), expected, "{template}");
        }
    }

    #[test]
    fn hostile_templates_and_documents_end_soon() {
        let nested = format!("{}{}", "{range .}".repeat(1000), "{end}".repeat(1000));
        assert_eq!(JsonPath::parse(&nested), Err("template is nested too deeply".to_owned()));
        let wide = json!({"a": vec![json!([0, 1]); 1000]});
        let path = JsonPath::parse(&format!("{{{}}}", "..".repeat(20))).expect("a template");
        assert!(path.find(&wide).is_err());
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(template in "\\PC{0,40}") {
            let _ = JsonPath::parse(&template).map(|path| path.find(&documented()));
        }

        #[test]
        fn nothing_like_a_template_makes_it_panic(
            parts in proptest::collection::vec(
                prop_oneof![Just("{"), Just("}"), Just("."), Just(".."), Just("["), Just("]"), Just("?("), Just(")"),
                    Just("@"), Just("users"), Just("numbers"), Just("*"), Just("-1"), Just(":"), Just("0"), Just(","),
                    Just("'"), Just("\""), Just("range "), Just("end"), Just("=="), Just("\\"), Just("é"), Just(" ")],
                0..24),
        ) {
            let template = parts.concat();
            for template in [format!("{{.{template}}}"), template] {
                let _ = JsonPath::parse(&template).map(|path| path.find(&documented()));
            }
        }
    }
}
