//! The structure of a crate's sources: no two files need each other, directly or through others, and functions are
//! short. A library for tests: each crate has a test that calls [`check`].
//!
//! A file needs another one when a path in its code names something there. A `mod.rs` that only declares its children and
//! re-exports from them needs none; a path that goes through such a re-export leads to the file that has the thing.
//! Tests inside a file are not looked at. The analysis is one of text: names that macros make are not seen.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Most lines of a function.
pub const LINES_MAX: usize = 70;

/// A module by its path: `shard::write`. The crate is the empty path.
type Module = Vec<String>;

/// One file.
#[derive(Default)]
struct Source {
    /// The paths that its code names.
    paths: Vec<Vec<String>>,
    /// What it re-exports, by name.
    exports: BTreeMap<String, Vec<String>>,
}

/// The files of a crate.
#[derive(Default)]
pub struct Sources(BTreeMap<Module, Source>);

/// Without comments, and without the tests at the end.
fn code_of(text: &str) -> String {
    let tests = ["#[cfg(test)]\nmod ", "#[cfg(all(test"].iter().filter_map(|mark| text.find(mark)).min();
    let code = &text[..tests.unwrap_or(text.len())];
    code.lines().map(|line| line.split("//").next().unwrap()).collect::<Vec<_>>().join("\n")
}

/// `a::{b, c::{d, e}}` as its single paths.
fn expanded(tree: &str) -> Vec<Vec<String>> {
    let Some((front, rest)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap();
        let path: Vec<_> = path.split("::").map(|name| name.trim().to_owned()).collect();
        // `a::{self}` names `a`.
        return vec![if path.len() > 1 && path.ends_with(&["self".to_owned()]) {
            path[..path.len() - 1].to_vec()
        } else {
            path
        }];
    };
    let inner = rest.trim_end().strip_suffix('}').unwrap();
    let (mut parts, mut depth, mut begin) = (Vec::new(), 0, 0);
    for (at, letter) in inner.char_indices() {
        match letter {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&inner[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&inner[begin..]);
    let parts = parts.into_iter().map(str::trim).filter(|part| !part.is_empty());
    parts.flat_map(|part| expanded(&format!("{front}{part}"))).collect()
}

/// Paths in code that begin with `crate`, `super` or `self`.
fn paths_in(code: &str) -> Vec<Vec<String>> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let words = code.split(|c: char| !is_part(c)).filter(|word| word.contains("::"));
    let paths = words.map(|word| word.split("::").map(str::to_owned).collect::<Vec<_>>());
    paths.filter(|path| ["crate", "super", "self"].contains(&path[0].as_str())).collect()
}

impl Source {
    fn of(text: &str) -> Self {
        let code = code_of(text);
        let (mut source, mut rest, mut declares) = (Self::default(), String::new(), false);
        let mut lines = code.lines();
        while let Some(line) = lines.next() {
            let (visibility, tree) = match line.trim().split_once("use ") {
                Some((before, tree)) if before.is_empty() || before.starts_with("pub") => (before, tree),
                _ => {
                    declares |= line.trim_end().ends_with(';') && line.contains("mod ");
                    rest = rest + line + "\n";
                    continue;
                }
            };
            let mut tree = tree.to_owned();
            while !tree.ends_with(';') {
                tree += lines.next().unwrap().trim();
            }
            for path in expanded(tree.trim_end_matches(';')) {
                if !visibility.is_empty() {
                    source.exports.insert(path.last().unwrap().clone(), path.clone());
                }
                source.paths.push(path);
            }
        }
        source.paths.extend(paths_in(&rest));
        let mut items = rest.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        if declares && items.all(|line| line.contains("mod ") && line.ends_with(';')) {
            source.paths.clear();
        }
        source
    }
}

impl Sources {
    /// The files below a folder, which is a crate's `src`.
    pub fn read(root: &Path) -> Self {
        let mut sources = Self::default();
        for path in files_below(root) {
            sources
                .add(path.strip_prefix(root).unwrap().to_str().unwrap(), &fs::read_to_string(&path).unwrap());
        }
        sources
    }

    fn add(&mut self, path: &str, text: &str) {
        let mut module: Module = path.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
        if module.last().is_some_and(|name| ["mod", "lib"].contains(&name.as_str())) {
            module.pop();
        }
        self.0.insert(module, Source::of(text));
    }

    /// The module that a path in `from` leads to, and the name of the thing in it, if the path goes on.
    fn resolved(&self, from: &Module, path: &[String]) -> Option<(Module, Option<String>)> {
        let mut base = from.clone();
        let mut names = path.iter().peekable();
        match path[0].as_str() {
            "crate" => {
                base.clear();
                names.next();
            }
            "self" => {
                names.next();
            }
            "super" => {
                while names.next_if(|name| *name == "super").is_some() {
                    base.pop();
                }
            }
            first => {
                let child = [base.as_slice(), &[first.to_owned()]].concat();
                self.0.contains_key(&child).then_some(())?;
            }
        }
        while let Some(name) = names.peek() {
            let child = [base.as_slice(), &[(*name).clone()]].concat();
            if !self.0.contains_key(&child) {
                break;
            }
            base = child;
            names.next();
        }
        Some((base, names.next().cloned()))
    }

    /// The same, through re-exports.
    fn target(&self, from: &Module, path: &[String], depth: usize) -> Option<Module> {
        let (module, name) = self.resolved(from, path)?;
        let export = name.and_then(|name| self.0.get(&module)?.exports.get(&name));
        match export.filter(|_| depth < 8).and_then(|path| self.target(&module, path, depth + 1)) {
            Some(target) => Some(target),
            None => Some(module),
        }
    }

    /// What each file needs.
    fn needs(&self) -> BTreeMap<Module, BTreeSet<Module>> {
        let needs = |(module, source): (&Module, &Source)| {
            let targets = source.paths.iter().filter_map(|path| self.target(module, path, 0));
            (module.clone(), targets.filter(|target| target != module && !target.is_empty()).collect())
        };
        self.0.iter().map(needs).collect()
    }

    /// Files that need each other, as sentences.
    pub fn circles(&self) -> Vec<String> {
        let needs = self.needs();
        let reach = |from: &Module| {
            let (mut seen, mut open) = (BTreeSet::new(), vec![from.clone()]);
            while let Some(module) = open.pop() {
                for next in needs.get(&module).into_iter().flatten() {
                    if seen.insert(next.clone()) {
                        open.push(next.clone());
                    }
                }
            }
            seen
        };
        let reached: BTreeMap<_, _> = needs.keys().map(|module| (module.clone(), reach(module))).collect();
        let mut circles = Vec::new();
        for (module, direct) in &needs {
            for other in direct.iter().filter(|other| reached.get(*other).is_some_and(|r| r.contains(module)))
            {
                circles.push(format!("{} needs {}, which needs it", module.join("::"), other.join("::")));
            }
        }
        circles
    }
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// Names and lines of the functions in formatted code: one ends at the brace that stands below its first letter.
fn functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<_> = text.lines().collect();
    let mut out = Vec::new();
    for (begin, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let words = code.split_whitespace().take_while(|word| *word != "fn").collect::<Vec<_>>();
        let is_function = code.split_whitespace().any(|word| word == "fn")
            && words.iter().all(|w| w.starts_with("pub") || ["async", "const", "unsafe"].contains(w));
        if !is_function || line.trim_end().ends_with(';') {
            continue;
        }
        let indent = &line[..line.len() - code.len()];
        let end = format!("{indent}}}");
        let count = lines[begin..].iter().position(|l| **l == *end).map_or(1, |at| at + 1);
        let name = code.split_once("fn ").unwrap().1.split(['(', '<']).next().unwrap();
        out.push((name.to_owned(), count));
    }
    out
}

/// Lines of code below a folder that have a word in them, each with its file.
pub fn lines_with(root: &Path, word: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for file in files_below(root) {
        let text = fs::read_to_string(&file).unwrap();
        let code = text.lines().map(|line| line.split("//").next().unwrap());
        lines.extend(
            code.filter(|line| line.contains(word)).map(|line| format!("{}: {line}", file.display())),
        );
    }
    lines
}

/// At least as many files, needs between them and functions must be found: a check that reads nothing finds nothing.
#[derive(Debug, Clone, Copy)]
pub struct AtLeast {
    pub files: usize,
    pub needs: usize,
    pub functions: usize,
}

/// Checks the sources below a folder, which is a crate's `src`. Returns what is wrong, as sentences.
pub fn check(root: &Path, least: AtLeast) -> Vec<String> {
    let sources = Sources::read(root);
    let needs: usize = sources.needs().values().map(BTreeSet::len).sum();
    let mut wrong = sources.circles();
    let mut all = Vec::new();
    for file in files_below(root) {
        let name = file.strip_prefix(root).unwrap().display().to_string();
        all.extend(
            functions(&fs::read_to_string(&file).unwrap()).into_iter().map(|(f, n)| (n, f, name.clone())),
        );
    }
    all.sort();
    let found = AtLeast { files: sources.0.len(), needs, functions: all.len() };
    println!("found {found:?}; the longest function: {:?}", all.last());
    if found.files < least.files || found.needs < least.needs || found.functions < least.functions {
        wrong.push(format!("found {found:?}, expected at least {least:?}"));
    }
    for (lines, function, file) in all.iter().filter(|(lines, ..)| *lines > LINES_MAX) {
        wrong.push(format!("{function} in {file} has {lines} lines, more than {LINES_MAX}"));
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A crate in which everything that makes a need is used once, and nothing needs each other.
    fn sound() -> Sources {
        let mut sources = Sources::default();
        sources.add("lib.rs", "pub mod a;\nmod b;\nmod leaf;\n");
        sources.add("a/mod.rs", "mod one;\nmod two;\n\npub use one::One;\npub(crate) use two::Two;\n");
        sources.add("a/one.rs", "use crate::b::{self, B};\nuse super::Two;\n\npub struct One(B, Two);\n");
        sources.add("a/two.rs", "//! Not crate::a::one::One.\nuse crate::leaf::{\n    Leaf,\n    other::{self},\n};\n\npub struct Two;\n");
        sources.add("b.rs", "pub struct B;\n\n#[cfg(test)]\nmod tests {\n    use crate::a::One;\n}\n");
        sources.add("leaf.rs", "pub struct Leaf;\n");
        sources
    }

    #[test]
    fn circles_are_found() {
        assert_eq!(sound().circles(), Vec::<String>::new());
        let module = |path: &str| path.split("::").map(str::to_owned).collect::<Module>();
        let needs = sound().needs();
        assert_eq!(needs[&module("a::one")], BTreeSet::from([module("a::two"), module("b")]));
        assert_eq!(needs[&module("a::two")], BTreeSet::from([module("leaf")]));
        assert!(needs[&module("a")].is_empty(), "it only declares and re-exports");
        // Directly, by a path in code, through a re-export, through a third file, in a parent with code of its own.
        for (file, code) in [
            ("a/two.rs", "use super::one::One;\n\nstruct Two;\n"),
            ("a/two.rs", "fn two() {\n    super::one::one();\n}\n"),
            ("b.rs", "use crate::a::One;\n\nstruct B;\n"),
            ("b.rs", "mod inner {}\npub(crate) use crate::a::One as Other;\nstruct B;\n"),
            (
                "a/mod.rs",
                "mod one;\nmod two;\npub use two::Two;\n\npub struct One;\n\nfn a(of: one::One) {}\nuse one::One as O;\n",
            ),
        ] {
            let mut sources = sound();
            sources.add(file, code);
            if file == "a/mod.rs" {
                sources.add("a/one.rs", "use super::One;\n");
            }
            assert!(!sources.circles().is_empty(), "not found: {file}: {code}");
        }
    }

    #[test]
    fn long_functions_are_found() {
        let body = "        let x = 1;\n".repeat(LINES_MAX);
        let text = format!(
            "impl A {{\n    pub(crate) async fn long(\n        &self,\n    ) {{\n{body}    }}\n\n    fn short() {{\n    }}\n\n    fn declared();\n}}\n"
        );
        assert_eq!(functions(&text), [("long".to_owned(), LINES_MAX + 4), ("short".to_owned(), 2)]);
    }

    #[test]
    fn a_check_that_finds_too_little_fails() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let least = AtLeast { files: 1, needs: 0, functions: 10 };
        assert_eq!(check(&root, least), Vec::<String>::new());
        let wrong = check(&root, AtLeast { files: 2, ..least });
        assert!(wrong.len() == 1 && wrong[0].contains("expected at least"), "{wrong:?}");
    }
}
