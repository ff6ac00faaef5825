//! From tokens to a tree, with the precedences of the reference's language.

use super::token::{Token, tokens};

/// No tree is higher; an author must not be able to overflow a stack.
const HIGHEST: u32 = 100;

/// A node of the tree.
#[derive(Clone, PartialEq, Debug)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    height: u32,
}

/// What a node is.
#[derive(Clone, PartialEq, Debug)]
pub enum ExprKind {
    /// `nil`
    Nil,
    /// `true`, `false`
    Bool(bool),
    /// `1`
    Int(i64),
    /// `1.5`
    Float(f64),
    /// `"a"`
    Text(String),
    /// `result`, a variable, `$env`
    Name(String),
    /// `#`, `#acc`, `#index`: what a predicate looks at.
    Pointer(String),
    /// `not a`, `-a`
    Unary(&'static str, Box<Expr>),
    /// `a + b`
    Binary(&'static str, Box<Expr>, Box<Expr>),
    /// `c ? a : b`
    Choice(Box<Expr>, Box<Expr>, Box<Expr>),
    /// `a[b]`, `a.b`; whether nothing is found in nothing, as with `?.`
    Member(Box<Expr>, Box<Expr>, bool),
    /// `a[b:c]`
    Slice(Box<Expr>, Option<Box<Expr>>, Option<Box<Expr>>),
    /// The end of a chain that a `?.` may cut short.
    Chain(Box<Expr>),
    /// `f(a, b)`
    Call(String, Vec<Expr>),
    /// `all(a, {b}, c)`
    Iterate(String, Box<Expr>, Option<Box<Expr>>, Option<Box<Expr>>),
    /// `[a, b]`
    List(Vec<Expr>),
    /// `{a: b}`
    Map(Vec<(Expr, Expr)>),
    /// `let a = b; c`
    Let(String, Box<Expr>, Box<Expr>),
    /// `a; b`
    Sequence(Vec<Expr>),
}

use ExprKind::*;

/// Functions whose second argument is a predicate.
pub const ITERATORS: &[&str] = &[
    "all",
    "none",
    "any",
    "one",
    "filter",
    "map",
    "count",
    "sum",
    "find",
    "findIndex",
    "findLast",
    "findLastIndex",
    "groupBy",
    "sortBy",
    "reduce",
];

/// (operator, precedence, whether it groups to the right)
const BINARY: &[(&str, u32, bool)] = &[
    ("|", 0, false),
    ("or", 10, false),
    ("||", 10, false),
    ("and", 15, false),
    ("&&", 15, false),
    ("==", 20, false),
    ("!=", 20, false),
    ("<", 20, false),
    (">", 20, false),
    ("<=", 20, false),
    (">=", 20, false),
    ("in", 20, false),
    ("matches", 20, false),
    ("contains", 20, false),
    ("startsWith", 20, false),
    ("endsWith", 20, false),
    ("..", 25, false),
    ("+", 30, false),
    ("-", 30, false),
    ("*", 60, false),
    ("/", 60, false),
    ("%", 60, false),
    ("**", 100, true),
    ("^", 100, true),
    ("??", 500, false),
];

const UNARY: &[(&str, u32)] = &[("not", 50), ("!", 50), ("-", 90), ("+", 90)];

fn binary(sign: &str) -> Option<&'static (&'static str, u32, bool)> {
    BINARY.iter().find(|(known, ..)| *known == sign)
}

fn is_comparison(sign: &str) -> bool {
    matches!(sign, "<" | ">" | "<=" | ">=")
}

/// Reads an expression.
pub fn parse(source: &str) -> Result<Expr, String> {
    let mut parser = Parser { tokens: tokens(source)?, at: 0, predicates: 0, nested: 0 };
    let expr = parser.sequence()?;
    match parser.current() {
        Token::End => Ok(expr),
        token => Err(format!("unexpected token {token}")),
    }
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    /// How many predicates the current place is in.
    predicates: u32,
    nested: u32,
}

/// The name of something that an author has not named.
fn hidden_name(index: usize) -> String {
    format!("${index}")
}

type Parsed = Result<Expr, String>;

fn boxed(expr: Expr) -> Box<Expr> {
    Box::new(expr)
}

impl Parser {
    fn current(&self) -> &Token {
        self.tokens.get(self.at).unwrap_or(&Token::End)
    }

    fn is(&self, sign: &str) -> bool {
        matches!(self.current(), Token::Sign(known) if *known == sign)
    }

    fn accept(&mut self, sign: &str) -> bool {
        let is = self.is(sign);
        self.at += usize::from(is);
        is
    }

    fn expect(&mut self, sign: &str) -> Result<(), String> {
        if self.accept(sign) { Ok(()) } else { Err(format!("unexpected token {}", self.current())) }
    }

    fn name(&mut self) -> Result<String, String> {
        let Token::Name(name) = self.current().clone() else {
            return Err(format!("unexpected token {}", self.current()));
        };
        self.at += 1;
        Ok(name)
    }

    fn node(&self, kind: ExprKind) -> Parsed {
        let height = 1 + match &kind {
            Nil | Bool(_) | Int(_) | Float(_) | Text(_) | Name(_) | Pointer(_) => 0,
            Unary(_, a) | Chain(a) => a.height,
            Binary(_, a, b) | Member(a, b, _) | Let(_, a, b) => a.height.max(b.height),
            Choice(a, b, c) => a.height.max(b.height).max(c.height),
            Slice(a, b, c) | Iterate(_, a, b, c) => {
                let of = |part: &Option<Box<Expr>>| part.as_ref().map_or(0, |part| part.height);
                a.height.max(of(b)).max(of(c))
            }
            Call(_, all) | List(all) | Sequence(all) => all.iter().map(|a| a.height).max().unwrap_or(0),
            Map(pairs) => pairs.iter().map(|(a, b)| a.height.max(b.height)).max().unwrap_or(0),
        };
        if height > HIGHEST {
            Err("expression is nested too deeply".to_owned())
        } else {
            Ok(Expr { kind, height })
        }
    }

    fn sequence(&mut self) -> Parsed {
        let mut all = vec![self.expression(0)?];
        while self.accept(";") {
            if matches!(self.current(), Token::End | Token::Sign(")" | "}")) {
                break;
            }
            all.push(self.expression(0)?);
        }
        match all.pop() {
            Some(only) if all.is_empty() => Ok(only),
            Some(last) => {
                all.push(last);
                self.node(Sequence(all))
            }
            None => Err("unexpected end".to_owned()),
        }
    }

    fn expression(&mut self, precedence: u32) -> Parsed {
        self.nested += 1;
        if self.nested > HIGHEST {
            return Err("expression is nested too deeply".to_owned());
        }
        let expr = self.expression_within(precedence);
        self.nested -= 1;
        expr
    }

    fn expression_within(&mut self, precedence: u32) -> Parsed {
        if precedence == 0 && self.accept("let") {
            let name = self.name()?;
            self.expect("=")?;
            let value = self.expression(0)?;
            self.expect(";")?;
            let body = self.sequence()?;
            return self.node(Let(name, boxed(value), boxed(body)));
        }
        if precedence == 0 && self.accept("if") {
            return self.conditional();
        }
        let mut left = self.primary()?;
        let mut previous = "";
        while let Token::Sign(sign) = self.current().clone() {
            let negated = sign == "not";
            let sign = match self.tokens.get(self.at + 1) {
                Some(Token::Sign(next)) if negated => *next,
                Some(token) if negated => return Err(format!("unexpected token {token}")),
                _ => sign,
            };
            let may_negate = matches!(sign, "in" | "matches" | "contains" | "startsWith" | "endsWith");
            if negated && !may_negate {
                return Err(format!("unexpected token {}", Token::Sign(sign)));
            }
            let Some((sign, weight, to_the_right)) =
                binary(sign).filter(|(_, weight, _)| *weight >= precedence)
            else {
                break;
            };
            self.at += if negated { 2 } else { 1 };
            if *sign == "|" {
                let name = self.name()?;
                left = self.call(name, Some(left))?;
                left = self.postfix(left)?;
            } else if previous == "??" && *sign != "??" {
                return Err(format!(
                    "Operator ({sign}) and coalesce expressions (??) cannot be mixed. Wrap either by parentheses."
                ));
            } else if is_comparison(sign) {
                left = self.comparison(left, sign, *weight)?;
            } else {
                let right = self.expression(if *to_the_right { *weight } else { weight + 1 })?;
                left = self.node(Binary(sign, boxed(left), boxed(right)))?;
                if negated {
                    left = self.node(Unary("not", boxed(left)))?;
                }
            }
            previous = sign;
        }
        while precedence == 0 && self.accept("?") {
            if self.accept(":") {
                let no = self.expression(0)?;
                let (condition, yes) = (self.hidden(0)?, self.hidden(0)?);
                let choice = self.node(Choice(boxed(condition), boxed(yes), boxed(no)))?;
                left = self.node(Let(hidden_name(0), boxed(left), boxed(choice)))?;
                continue;
            }
            let yes = self.expression(0)?;
            self.expect(":")?;
            let no = self.expression(0)?;
            left = self.node(Choice(boxed(left), boxed(yes), boxed(no)))?;
        }
        Ok(left)
    }

    /// `1 < a < 10` means both. What stands between two signs gets a name, so that it is there once only.
    fn comparison(&mut self, first: Expr, sign: &'static str, weight: u32) -> Parsed {
        let mut signs = vec![sign];
        let mut operands = vec![self.expression(weight + 1)?];
        while let Token::Sign(next) = self.current().clone()
            && is_comparison(next)
        {
            self.at += 1;
            signs.push(next);
            operands.push(self.expression(weight + 1)?);
        }
        let last = operands.len() - 1;
        let mut all: Option<Expr> = None;
        for (index, (operand, sign)) in operands.into_iter().zip(signs).enumerate().rev() {
            let left = if index == 0 { first.clone() } else { self.hidden(index - 1)? };
            let right = if index == last { operand.clone() } else { self.hidden(index)? };
            let mut one = self.node(Binary(sign, boxed(left), boxed(right)))?;
            if let Some(after) = all {
                one = self.node(Binary("&&", boxed(one), boxed(after)))?;
                one = self.node(Let(hidden_name(index), boxed(operand), boxed(one)))?;
            }
            all = Some(one);
        }
        all.ok_or_else(|| "unexpected end".to_owned())
    }

    fn hidden(&self, index: usize) -> Parsed {
        self.node(Name(hidden_name(index)))
    }

    fn conditional(&mut self) -> Parsed {
        let condition = self.expression(0)?;
        self.expect("{")?;
        let yes = self.sequence()?;
        self.expect("}")?;
        self.expect("else")?;
        let no = if self.accept("if") {
            self.nested += 1;
            if self.nested > HIGHEST {
                return Err("expression is nested too deeply".to_owned());
            }
            let no = self.conditional();
            self.nested -= 1;
            no?
        } else {
            self.expect("{")?;
            let no = self.sequence()?;
            self.expect("}")?;
            no
        };
        self.node(Choice(boxed(condition), boxed(yes), boxed(no)))
    }

    fn primary(&mut self) -> Parsed {
        let token = self.current().clone();
        if let Token::Sign(sign) = token {
            if let Some((sign, weight)) = UNARY.iter().find(|(known, _)| *known == sign) {
                self.at += 1;
                let of = self.expression(*weight)?;
                let node = self.node(Unary(sign, boxed(of)))?;
                return self.postfix(node);
            }
            if self.accept("(") {
                let inner = self.sequence()?;
                self.expect(")")?;
                return self.postfix(inner);
            }
            if self.predicates > 0 && matches!(sign, "#" | ".") {
                let mut name = String::new();
                if self.accept("#")
                    && let Token::Name(word) = self.current().clone()
                {
                    self.at += 1;
                    name = word;
                }
                let node = self.node(Pointer(name))?;
                return self.postfix(node);
            }
        }
        let node = match token {
            Token::Name(name) => {
                self.at += 1;
                match &*name {
                    "true" => self.node(Bool(true))?,
                    "false" => self.node(Bool(false))?,
                    "nil" => self.node(Nil)?,
                    _ if self.is("(") => self.call(name, None)?,
                    _ => self.node(Name(name))?,
                }
            }
            Token::Int(number) => self.literal(Int(number))?,
            Token::Float(number) => self.literal(Float(number))?,
            Token::Text(text) => self.literal(Text(text))?,
            Token::Sign("[") => {
                self.at += 1;
                let items = self.arguments("]")?;
                self.node(List(items))?
            }
            Token::Sign("{") => {
                self.at += 1;
                self.map()?
            }
            token => return Err(format!("unexpected token {token}")),
        };
        self.postfix(node)
    }

    fn literal(&mut self, kind: ExprKind) -> Parsed {
        self.at += 1;
        self.node(kind)
    }

    fn arguments(&mut self, end: &str) -> Result<Vec<Expr>, String> {
        let mut all = Vec::new();
        while !self.accept(end) {
            if !all.is_empty() {
                self.expect(",")?;
                if self.accept(end) {
                    break;
                }
            }
            all.push(self.expression(0)?);
        }
        Ok(all)
    }

    fn map(&mut self) -> Parsed {
        let mut pairs = Vec::new();
        while !self.accept("}") {
            if !pairs.is_empty() {
                self.expect(",")?;
                if self.accept("}") {
                    break;
                }
            }
            let key = match self.current().clone() {
                Token::Name(text) | Token::Text(text) => self.literal(Text(text))?,
                Token::Int(number) => self.literal(Text(number.to_string()))?,
                Token::Sign("(") => self.expression(0)?,
                token => {
                    return Err(format!(
                        "a map key must be a quoted string, a number, a identifier, or an expression enclosed in parentheses (unexpected token {token})"
                    ));
                }
            };
            self.expect(":")?;
            pairs.push((key, self.expression(0)?));
        }
        self.node(Map(pairs))
    }

    fn call(&mut self, name: String, piped: Option<Expr>) -> Parsed {
        self.expect("(")?;
        if !ITERATORS.contains(&&*name) {
            let mut args: Vec<Expr> = piped.into_iter().collect();
            args.extend(self.arguments(")")?);
            return self.node(Call(name, args));
        }
        let over = match piped {
            Some(over) => over,
            None => {
                let over = self.expression(0)?;
                if !self.is(")") {
                    self.expect(",")?;
                }
                over
            }
        };
        let predicate = if self.is(")") { None } else { Some(boxed(self.predicate()?)) };
        let extra = if self.accept(",") && !self.is(")") { Some(boxed(self.expression(0)?)) } else { None };
        self.accept(",");
        self.expect(")")?;
        if predicate.is_none() && !matches!(&*name, "count" | "sum") {
            return Err(format!("not enough arguments to call {name}"));
        }
        self.node(Iterate(name, boxed(over), predicate, extra))
    }

    fn predicate(&mut self) -> Parsed {
        self.predicates += 1;
        let braces = self.accept("{");
        let body = if braces { self.sequence()? } else { self.expression(0)? };
        self.predicates -= 1;
        if braces {
            self.expect("}")?;
        }
        Ok(body)
    }

    fn postfix(&mut self, start: Expr) -> Parsed {
        let mut node = start;
        let mut has_optional = false;
        loop {
            if self.is(".") || self.is("?.") {
                let optional = self.accept("?.") || !self.accept(".");
                has_optional |= optional;
                if optional && self.accept("[") {
                    let key = self.expression(0)?;
                    self.expect("]")?;
                    node = self.node(Member(boxed(node), boxed(key), true))?;
                    continue;
                }
                let name = self.name()?;
                if self.is("(") {
                    // No value that is measured has methods; the checker says so in the right words.
                    self.at += 1;
                    self.arguments(")")?;
                }
                let key = self.node(Text(name))?;
                node = self.node(Member(boxed(node), boxed(key), optional))?;
            } else if self.accept("[") {
                node = self.index(node)?;
            } else {
                break;
            }
        }
        if has_optional { self.node(Chain(boxed(node))) } else { Ok(node) }
    }

    fn index(&mut self, of: Expr) -> Parsed {
        if self.accept(":") {
            let to = if self.is("]") { None } else { Some(boxed(self.expression(0)?)) };
            self.expect("]")?;
            return self.node(Slice(boxed(of), None, to));
        }
        let from = self.expression(0)?;
        if self.accept(":") {
            let to = if self.is("]") { None } else { Some(boxed(self.expression(0)?)) };
            self.expect("]")?;
            return self.node(Slice(boxed(of), Some(boxed(from)), to));
        }
        self.expect("]")?;
        self.node(Member(boxed(of), boxed(from), false))
    }
}
