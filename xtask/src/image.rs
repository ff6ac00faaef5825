//! `cargo xtask static`: builds the program as the image does, and looks whether it can run where nothing else is.

use std::fs;
use std::path::Path;
use std::process::Command;

/// What an image of it may grow to before somebody is asked.
const LARGEST: usize = 20 << 20;

/// Builds by the script that the Dockerfile runs; an error says what is wrong with the outcome.
pub fn run() -> Result<(), String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let script = root.join("deploy/image/build-static");
    // This program lies in TARGET/PROFILE; what it builds goes below the same TARGET.
    let own = std::env::current_exe().map_err(|why| why.to_string())?;
    let target = own.ancestors().nth(2).ok_or("this program lies in no target folder")?;
    let built = Command::new(&script).env("CARGO_TARGET_DIR", target).status();
    if !built.map_err(|why| format!("{}: {why}", script.display()))?.success() {
        return Err("the build failed".to_owned());
    }
    let program = target.join("image/bin/tidegate");
    let bytes = fs::read(&program).map_err(|why| format!("{}: {why}", program.display()))?;
    let needs = needs(&bytes)?;
    if !needs.is_empty() {
        return Err(format!("{}: not static: {}", program.display(), needs.join(", ")));
    }
    if bytes.len() > LARGEST {
        return Err(format!("{}: {} bytes, {LARGEST} are the most", program.display(), bytes.len()));
    }
    let ran = Command::new(&program).arg("--version").env_clear().current_dir("/").output();
    let ran = ran.map_err(|why| format!("{}: {why}", program.display()))?;
    if !ran.status.success() {
        return Err(format!("{} --version: {}", program.display(), ran.status));
    }
    print!("static, {} bytes: {}", bytes.len(), String::from_utf8_lossy(&ran.stdout));
    Ok(())
}

/// What the program of a 64-bit little-endian ELF file asks of the system that it runs on: a loader, libraries.
fn needs(elf: &[u8]) -> Result<Vec<String>, String> {
    const LOADER: u64 = 3;
    const DYNAMIC: u64 = 2;
    const LIBRARY: u64 = 1;
    if !elf.starts_with(b"\x7fELF\x02\x01") {
        return Err("no 64-bit little-endian ELF file".to_owned());
    }
    let (table, size, count) = (number(elf, 0x20, 8)?, number(elf, 0x36, 2)?, number(elf, 0x38, 2)?);
    let mut needs = Vec::new();
    for at in 0..count {
        let header = table.saturating_add(at.saturating_mul(size));
        let kind = number(elf, header, 4)?;
        let (start, length) =
            (number(elf, header.saturating_add(8), 8)?, number(elf, header.saturating_add(32), 8)?);
        if kind == LOADER {
            needs.push("a loader".to_owned());
        }
        if kind == DYNAMIC {
            for entry in 0..length / 16 {
                if number(elf, start.saturating_add(entry * 16), 8)? == LIBRARY {
                    needs.push("a library".to_owned());
                }
            }
        }
    }
    Ok(needs)
}

fn number(bytes: &[u8], at: u64, length: usize) -> Result<u64, String> {
    let start = usize::try_from(at).unwrap_or(usize::MAX);
    let digits = bytes.get(start..start.saturating_add(length)).ok_or("the file ends too early")?;
    Ok(digits.iter().rev().fold(0, |sum, &digit| sum << 8 | u64::from(digit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of headers alone: kinds of segments, the last one's content.
    fn elf(kinds: &[u8], dynamic: &[u8]) -> Vec<u8> {
        let mut file = b"\x7fELF\x02\x01".to_vec();
        file.resize(64, 0);
        (file[0x20], file[0x36], file[0x38]) = (64, 56, u8::try_from(kinds.len()).expect("few"));
        for &kind in kinds {
            let mut header = [0; 56];
            (header[0], header[8], header[32]) =
                (kind, 64 + 56 * file[0x38], u8::try_from(dynamic.len()).expect("few"));
            file.extend(header);
        }
        file.extend(dynamic);
        file
    }

    #[test]
    fn a_loader_or_a_library_is_found() {
        let entry = |tag: u8| [&[tag][..], &[0; 15]].concat();
        assert_eq!(needs(&elf(&[1, 1], &[])), Ok(vec![]));
        assert_eq!(needs(&elf(&[1, 3], &[])), Ok(vec!["a loader".to_owned()]));
        assert_eq!(
            needs(&elf(&[1, 2], &[entry(5), entry(6)].concat())),
            Ok(vec![]),
            "static, but relocatable"
        );
        assert_eq!(needs(&elf(&[1, 2], &[entry(5), entry(1)].concat())), Ok(vec!["a library".to_owned()]));
    }

    #[test]
    fn what_is_no_program_is_refused() {
        assert_eq!(needs(b"#!/bin/sh"), Err("no 64-bit little-endian ELF file".to_owned()));
        assert_eq!(needs(&elf(&[1, 2], &[0; 32])[..150]), Err("the file ends too early".to_owned()));
    }
}
