//! From text to tokens.

/// A piece of an expression.
#[derive(Clone, PartialEq, Debug)]
pub enum Token {
    /// A name.
    Name(String),
    /// A whole number.
    Int(i64),
    /// A number with a fraction or an exponent.
    Float(f64),
    /// A text.
    Text(String),
    /// An operator, a word that acts as one, a bracket or a separator.
    Sign(&'static str),
    /// The end.
    End,
}

impl std::fmt::Display for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Token::Name(name) => write!(f, "Identifier({name:?})"),
            Token::Int(number) => write!(f, "Number({number})"),
            Token::Float(number) => write!(f, "Number({number})"),
            Token::Text(text) => write!(f, "String({text:?})"),
            Token::Sign(sign) => write!(f, "Operator({sign:?})"),
            Token::End => f.write_str("EOF"),
        }
    }
}

/// Words that are no names.
const WORDS: &[&str] =
    &["in", "or", "and", "not", "matches", "contains", "startsWith", "endsWith", "let", "if", "else"];

/// Signs, the longer ones first.
const SIGNS: &[&str] = &[
    "..", "**", "==", "!=", "<=", ">=", "&&", "||", "??", "?.", "+", "-", "*", "/", "%", "^", "<", ">", "!",
    "|", "?", ":", ".", ",", ";", "#", "(", ")", "[", "]", "{", "}", "=",
];

/// Cuts an expression into tokens.
pub fn tokens(source: &str) -> Result<Vec<Token>, String> {
    let mut lexer = Lexer { source, at: 0, tokens: Vec::new() };
    while lexer.next()? {}
    lexer.tokens.push(Token::End);
    Ok(lexer.tokens)
}

struct Lexer<'s> {
    source: &'s str,
    at: usize,
    tokens: Vec<Token>,
}

impl Lexer<'_> {
    fn rest(&self) -> &str {
        &self.source[self.at..]
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> String {
        let rest = self.rest();
        let end = rest.find(|c: char| !wanted(c)).unwrap_or(rest.len());
        let taken = rest[..end].to_owned();
        self.at += end;
        taken
    }

    fn next(&mut self) -> Result<bool, String> {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else { return Ok(false) };
        let second = rest.chars().nth(1);
        if first.is_whitespace() {
            self.at += first.len_utf8();
        } else if rest.starts_with("//") {
            self.take_while(|c| c != '\n');
        } else if rest.starts_with("/*") {
            let end = rest.find("*/").ok_or("unclosed comment")?;
            self.at += end + 2;
        } else if first.is_ascii_digit() || (first == '.' && second.is_some_and(|c| c.is_ascii_digit())) {
            let number = self.number()?;
            self.tokens.push(number);
        } else if matches!(first, '"' | '\'') {
            let text = self.quoted(first)?;
            self.tokens.push(Token::Text(text));
        } else if first == '`' {
            let end = rest[1..].find('`').ok_or("literal not terminated")?;
            let text = rest[1..=end].to_owned();
            self.at += end + 2;
            self.tokens.push(Token::Text(text));
        } else if first.is_alphabetic() || matches!(first, '_' | '$') {
            let word = self.take_while(|c| c.is_alphanumeric() || matches!(c, '_' | '$'));
            // After a dot every word is the name of a field.
            let is_field = matches!(self.tokens.last(), Some(Token::Sign("." | "?.")));
            match WORDS.iter().find(|known| **known == word) {
                Some(known) if !is_field => self.tokens.push(Token::Sign(known)),
                _ => self.tokens.push(Token::Name(word)),
            }
        } else {
            let sign = SIGNS.iter().find(|sign| rest.starts_with(**sign));
            let sign =
                sign.ok_or_else(|| format!("unrecognized character: U+{:04X} '{first}'", first as u32))?;
            self.at += sign.len();
            self.tokens.push(Token::Sign(sign));
        }
        Ok(true)
    }

    fn number(&mut self) -> Result<Token, String> {
        let rest = self.rest();
        for (prefix, radix) in [("0x", 16), ("0X", 16), ("0o", 8), ("0O", 8), ("0b", 2), ("0B", 2)] {
            if rest.starts_with(prefix) {
                self.at += 2;
                let digits = self.take_while(|c| c.is_ascii_alphanumeric() || c == '_').replace('_', "");
                let number = i64::from_str_radix(&digits, radix);
                return number
                    .map(Token::Int)
                    .map_err(|_| format!("bad number syntax: \"{prefix}{digits}\""));
            }
        }
        let digit = |c: char| c.is_ascii_digit() || c == '_';
        let mut text = self.take_while(digit);
        let mut is_float = false;
        // `1..3` is a range, not a fraction.
        if self.rest().starts_with('.') && !self.rest().starts_with("..") {
            is_float = true;
            self.at += 1;
            text.push('.');
            text.push_str(&self.take_while(digit));
        }
        if self.rest().starts_with(['e', 'E']) {
            is_float = true;
            self.at += 1;
            text.push('e');
            if self.rest().starts_with(['+', '-']) {
                text.push_str(&self.source[self.at..=self.at]);
                self.at += 1;
            }
            text.push_str(&self.take_while(|c| c.is_ascii_digit()));
        }
        let bad = || format!("bad number syntax: {text:?}");
        if self.rest().starts_with(|c: char| c.is_alphabetic()) {
            return Err(bad());
        }
        let digits = text.replace('_', "");
        if is_float {
            digits.parse().map(Token::Float).map_err(|_| bad())
        } else {
            digits.parse().map(Token::Int).map_err(|_| bad())
        }
    }

    fn quoted(&mut self, quote: char) -> Result<String, String> {
        self.at += 1;
        let mut text = String::new();
        let mut chars = self.source[self.at..].char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                _ if c == quote => {
                    self.at += at + 1;
                    return Ok(text);
                }
                '\n' => break,
                '\\' => {
                    let (_, escaped) = chars.next().ok_or("literal not terminated")?;
                    let mut code = |digits: usize, radix: u32| {
                        let digits: String = chars.by_ref().take(digits).map(|(_, c)| c).collect();
                        let code = u32::from_str_radix(&digits, radix).ok().and_then(char::from_u32);
                        code.ok_or_else(|| "invalid char escape".to_owned())
                    };
                    text.push(match escaped {
                        'n' => '\n',
                        't' => '\t',
                        'r' => '\r',
                        'a' => '\u{7}',
                        'b' => '\u{8}',
                        'f' => '\u{c}',
                        'v' => '\u{b}',
                        '\\' | '"' | '\'' | '`' | '?' => escaped,
                        'x' => code(2, 16)?,
                        'u' => code(4, 16)?,
                        'U' => code(8, 16)?,
                        _ => return Err("invalid char escape".to_owned()),
                    });
                }
                _ => text.push(c),
            }
        }
        Err("literal not terminated".to_owned())
    }
}
