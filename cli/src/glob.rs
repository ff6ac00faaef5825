//! Patterns of file names: `*` and `?` within a name, `[abc]`, and `**` for any number of folders.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The files that a pattern stands for, relative to a folder, sorted.
pub fn matching(folder: &Path, pattern: &str) -> Result<Vec<String>, String> {
    let names: Vec<&str> = pattern.split('/').filter(|name| !name.is_empty()).collect();
    let start = if pattern.starts_with('/') { PathBuf::from("/") } else { PathBuf::new() };
    let mut found = BTreeSet::new();
    walk(folder, &start, &names, &mut found)?;
    Ok(found.iter().map(|path| path.to_string_lossy().into_owned()).collect())
}

fn walk(folder: &Path, at: &Path, names: &[&str], found: &mut BTreeSet<PathBuf>) -> Result<(), String> {
    let Some((name, rest)) = names.split_first() else {
        if folder.join(at).is_file() {
            found.insert(at.to_owned());
        }
        return Ok(());
    };
    if *name == "**" {
        walk(folder, at, rest, found)?;
    } else if !name.contains(['*', '?', '[']) {
        return walk(folder, &at.join(name), rest, found);
    }
    let here = folder.join(at);
    if !here.is_dir() {
        return Ok(());
    }
    let here = if here.as_os_str().is_empty() { PathBuf::from(".") } else { here };
    for entry in std::fs::read_dir(&here).map_err(|why| format!("{}: {why}", here.display()))? {
        let entry = entry.map_err(|why| format!("{}: {why}", here.display()))?;
        let file_name = entry.file_name();
        let Some(text) = file_name.to_str() else { continue };
        let is_hidden = text.starts_with('.') && !name.starts_with('.');
        // A link to a folder is not followed by `**`: it may lead back here.
        let goes_deeper = *name == "**" && entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_hidden {
            continue;
        }
        if goes_deeper {
            walk(folder, &at.join(&file_name), names, found)?;
        } else if *name != "**" && fits(name, text) {
            walk(folder, &at.join(&file_name), rest, found)?;
        }
    }
    Ok(())
}

/// Whether a name is of a pattern without folders. Takes at most the product of both lengths.
fn fits(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    let (mut p, mut n) = (0, 0);
    // Where the last star stands, and up to where it eats the name so far.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        if pattern.get(p) == Some(&'*') {
            star = Some((p, n));
            p += 1;
        } else if let Some(width) = one(&pattern[p..], name[n]) {
            (p, n) = (p + width, n + 1);
        } else if let Some((at, eaten)) = star {
            star = Some((at, eaten + 1));
            (p, n) = (at + 1, eaten + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// How much of the pattern stands for this character, if the pattern begins with it.
fn one(pattern: &[char], c: char) -> Option<usize> {
    match pattern.first()? {
        '?' => Some(1),
        '[' => match pattern.iter().skip(2).position(|end| *end == ']') {
            None => (c == '[').then_some(1),
            Some(inside) => {
                let end = inside + 2;
                let (not, set) = match &pattern[1..end] {
                    ['!' | '^', set @ ..] if !set.is_empty() => (true, set),
                    set => (false, set),
                };
                (contains(set, c) != not).then_some(end + 1)
            }
        },
        same => (*same == c).then_some(1),
    }
}

fn contains(set: &[char], c: char) -> bool {
    let is_range = set.windows(3).any(|w| w[1] == '-' && w[0] <= c && c <= w[2]);
    is_range || set.contains(&c)
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn stars_questions_and_sets() {
        for (pattern, name, is_fit) in [
            ("*.yaml", "web.yaml", true),
            ("*.yaml", "web.yml", false),
            ("web-*-?.yaml", "web-a-b-1.yaml", true),
            ("web-?.yaml", "web-.yaml", false),
            ("*", "", true),
            ("a*b*c", "aXbXbc", true),
            ("a*b*c", "aXbXcd", false),
            ("web[12].yaml", "web2.yaml", true),
            ("web[12].yaml", "web3.yaml", false),
            ("web[!0-4]", "web5", true),
            ("web[!0-4]", "web3", false),
            ("web[", "web[", true),
        ] {
            assert_eq!(fits(pattern, name), is_fit, "{pattern} {name}");
        }
    }
}
