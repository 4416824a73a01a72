//! Imports point down: the graph of a crate's files has no cycle.
//!
//! An arrow goes from a file to each file that a path in it leads to: a path that begins with
//! `crate::`, `self::` or `super::`, or with a module that the file declares. `mod name;` alone is
//! no arrow. A re-export is one, so a file must not import from a parent that re-exports it.
//! Tests in the sources are left out. A type of glib needs two files that import each other, `mod.rs`
//! for the wrapper and `imp.rs` for the implementation; they count as one.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};

/// The crates, by their folder in the workspace.
const CRATES: &[&str] = &["xmem-core", "xmem-media", "plugins/xmem", "tests/fakecuda"];

/// The implementations of types of glib under other names than `imp.rs`: the importing file, and the
/// one of the type.
const IMPLEMENTATIONS: &[(&str, &str)] = &[
    ("device/channel.rs", "device/mod.rs"),
    ("device/provider.rs", "device/mod.rs"),
];

#[test]
fn imports_have_no_cycles() {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for name in CRATES {
        let mut graph = Graph::read(&workspace.join(name).join("src"));
        assert!(graph.files.len() > 10, "{name} has few files");
        if *name == "plugins/xmem" {
            IMPLEMENTATIONS
                .iter()
                .for_each(|(from, to)| graph.forget(from, to));
        }
        let cycles = graph.cycles();
        let written: Vec<String> = cycles.iter().map(|cycle| graph.write(cycle)).collect();
        assert!(
            cycles.is_empty(),
            "{name} has files that import each other:\n{}",
            written.join("\n")
        );
    }
}

#[test]
fn paths_lead_to_files() {
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path();
    fs::create_dir_all(source.join("a")).unwrap();
    let files = [
        (
            "lib.rs",
            "//! crate::b\nmod a;\nmod b;\npub use self::a::{inner::*, Outer};\n\
             #[cfg(test)]\nmod tests { use super::*; }",
        ),
        (
            "a.rs",
            "mod inner;\nuse inner::Inner;\n/* super::b */\nconst TEXT: &str = \"crate::b\";\n\
             const LETTER: char = '\"';\nfn f<'a>() { inner::call() }",
        ),
        (
            "a/inner.rs",
            "use super::super::b as other;\nuse crate::a::{self, Outer as It};",
        ),
        (
            "b.rs",
            "#[cfg(test)]\nuse crate::a;\nmod nested { pub(in crate::a) fn f() { super::g() } }",
        ),
    ];
    for (name, text) in files {
        fs::write(source.join(name), text).unwrap();
    }
    let graph = Graph::read(source);
    let arrows = |name: &str| {
        let at = graph
            .files
            .iter()
            .position(|file| file == Path::new(name))
            .unwrap();
        let to = graph.arrows[at].iter();
        to.map(|&to| graph.files[to].to_str().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(arrows("lib.rs"), ["a.rs", "a/inner.rs"]);
    assert_eq!(arrows("a.rs"), ["a/inner.rs"]);
    assert_eq!(arrows("a/inner.rs"), ["a.rs", "b.rs"]);
    assert!(arrows("b.rs").is_empty());
    let cycles = graph.cycles();
    assert_eq!(cycles.len(), 1);
    assert_eq!(graph.write(&cycles[0]), "a.rs -> a/inner.rs -> a.rs");
}

/// The files of a crate, and which of them each one imports.
struct Graph {
    files: Vec<PathBuf>,
    arrows: Vec<BTreeSet<usize>>,
}

/// A module that is a file of its own.
#[derive(Default)]
struct Module {
    /// Relative to the sources.
    file: PathBuf,
    tokens: Vec<Token>,
    parent: Option<usize>,
    children: BTreeMap<String, usize>,
}

impl Graph {
    fn read(source: &Path) -> Graph {
        let mut modules = Vec::new();
        read_module(source, PathBuf::from("lib.rs"), None, &mut modules);
        let arrows = (0..modules.len()).map(|at| arrows(&modules, at)).collect();
        let files = modules.into_iter().map(|module| module.file).collect();
        let mut graph = Graph { files, arrows };
        graph.join_pairs();
        graph
    }

    /// Makes one node of each `imp.rs` and the `mod.rs` beside it.
    fn join_pairs(&mut self) {
        for imp in 0..self.files.len() {
            let wrapper = self.files[imp].with_file_name("mod.rs");
            let wrapper = self.files.iter().position(|file| *file == wrapper);
            let Some(wrapper) = wrapper.filter(|_| self.files[imp].ends_with("imp.rs")) else {
                continue;
            };
            let arrows = std::mem::take(&mut self.arrows[imp]);
            self.arrows[wrapper].extend(arrows);
            for (at, arrows) in self.arrows.iter_mut().enumerate() {
                if arrows.remove(&imp) {
                    arrows.insert(wrapper);
                }
                arrows.remove(&at);
            }
        }
    }

    /// Removes a known import.
    fn forget(&mut self, from: &str, to: &str) {
        let find = |name: &str| self.files.iter().position(|file| file == Path::new(name));
        let imported = find(to);
        let found = find(from)
            .zip(imported)
            .is_some_and(|(from, to)| self.arrows[from].remove(&to));
        assert!(
            found,
            "{from} no longer imports {to}: remove that from IMPLEMENTATIONS"
        );
    }

    /// The shortest cycle through each group of files that import each other.
    fn cycles(&self) -> Vec<Vec<usize>> {
        let mut seen: BTreeSet<usize> = BTreeSet::new();
        let mut cycles: Vec<Vec<usize>> = (0..self.files.len())
            .filter_map(|at| self.cycle_through(at))
            .collect();
        cycles.sort_by_key(Vec::len);
        cycles.retain(|cycle| {
            let is_new = cycle.iter().all(|at| !seen.contains(at));
            seen.extend(cycle);
            is_new
        });
        cycles
    }

    fn cycle_through(&self, start: usize) -> Option<Vec<usize>> {
        let mut before = BTreeMap::new();
        let mut queue = VecDeque::from([start]);
        while let Some(at) = queue.pop_front() {
            for &to in &self.arrows[at] {
                if to == start {
                    let mut cycle = vec![at];
                    while let Some(&earlier) = before.get(cycle.last()?) {
                        cycle.push(earlier);
                    }
                    cycle.reverse();
                    return Some(cycle);
                }
                if let Entry::Vacant(entry) = before.entry(to) {
                    entry.insert(at);
                    queue.push_back(to);
                }
            }
        }
        None
    }

    fn write(&self, cycle: &[usize]) -> String {
        let files = cycle.iter().chain(&cycle[..1]);
        let names: Vec<_> = files
            .map(|&at| self.files[at].display().to_string())
            .collect();
        names.join(" -> ")
    }
}

/// Reads a file and the modules that it declares. Returns its number.
fn read_module(
    source: &Path,
    file: PathBuf,
    parent: Option<usize>,
    modules: &mut Vec<Module>,
) -> usize {
    let text = fs::read_to_string(source.join(&file)).unwrap();
    let tokens = without_tests(tokens(&text));
    let declared: Vec<String> = tokens
        .windows(3)
        .filter(|three| three[0].is("mod") && three[2].is(";"))
        .map(|three| three[1].0.clone())
        .collect();
    let stem = file.file_stem().unwrap();
    let below = if stem == "lib" || stem == "mod" {
        file.parent().unwrap().to_path_buf()
    } else {
        file.with_extension("")
    };
    let at = modules.len();
    modules.push(Module {
        file,
        tokens,
        parent,
        children: BTreeMap::new(),
    });
    for name in declared {
        let alone = below.join(format!("{name}.rs"));
        let child = if source.join(&alone).exists() {
            alone
        } else {
            below.join(&name).join("mod.rs")
        };
        let child = read_module(source, child, Some(at), modules);
        modules[at].children.insert(name, child);
    }
    at
}

/// The modules that the paths in a module lead to.
fn arrows(modules: &[Module], at: usize) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    let tokens = &modules[at].tokens;
    // Modules inside of the file, by the depth of braces at which they end.
    let mut inside: Vec<usize> = Vec::new();
    let mut depth = 0;
    for (i, token) in tokens.iter().enumerate() {
        if token.is("{") {
            depth += 1;
            if i >= 2 && tokens[i - 2].is("mod") {
                inside.push(depth);
            }
        } else if token.is("}") {
            if inside.last() == Some(&depth) {
                inside.pop();
            }
            depth -= 1;
        }
        // `pub(in crate::module)` imports nothing.
        let is_visibility = i >= 2 && tokens[i - 2].is("(") && tokens[i - 1].is("in");
        let is_start = i == 0 || !tokens[i - 1].is("::") && !is_visibility;
        let is_path = tokens.get(i + 1).is_some_and(|next| next.is("::"));
        let is_known = ["crate", "self", "super"].iter().any(|word| token.is(word))
            || inside.is_empty() && modules[at].children.contains_key(&token.0);
        if is_start && is_path && is_known {
            let nested = inside.len();
            follow(modules, at, nested, &tokens[i..], &mut found);
        }
    }
    found.remove(&at);
    found
}

/// Follows a path, and each branch of it. Returns how many tokens it takes.
fn follow(
    modules: &[Module],
    mut at: usize,
    mut nested: usize,
    tokens: &[Token],
    found: &mut BTreeSet<usize>,
) -> usize {
    let mut taken = 0;
    let mut is_module = true;
    while let Some(token) = tokens.get(taken) {
        if token.is("{") {
            taken += 1;
            while !tokens[taken].is("}") {
                taken += follow(modules, at, nested, &tokens[taken..], found);
                if tokens[taken].is("as") {
                    taken += 2;
                }
                if tokens[taken].is(",") {
                    taken += 1;
                }
            }
            return taken + 1;
        }
        if token.is("crate") {
            (at, nested) = (0, 0);
        } else if token.is("super") {
            if nested > 0 {
                nested -= 1;
            } else {
                at = modules[at].parent.expect("a parent");
            }
        } else if let Some(&child) = modules[at].children.get(&token.0)
            && is_module
        {
            at = child;
        } else if !token.is("self") {
            is_module = false;
        }
        taken += 1;
        if tokens.get(taken).is_some_and(|next| next.is("::")) {
            taken += 1;
        } else {
            break;
        }
    }
    found.insert(at);
    taken
}

/// A name, `::`, or one character of punctuation.
struct Token(String);

impl Token {
    fn is(&self, text: &str) -> bool {
        self.0 == text
    }
}

/// The tokens of a source, without comments and literals.
fn tokens(text: &str) -> Vec<Token> {
    let text: Vec<char> = text.chars().collect();
    let is_name = |at: usize| {
        text.get(at)
            .is_some_and(|&c| c.is_alphanumeric() || c == '_')
    };
    let starts = |at: usize, with: &str| {
        let mut with = with.chars().enumerate();
        with.all(|(offset, c)| text.get(at + offset) == Some(&c))
    };
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < text.len() {
        if starts(at, "//") {
            while at < text.len() && text[at] != '\n' {
                at += 1;
            }
        } else if starts(at, "/*") {
            let mut depth = 0;
            loop {
                if starts(at, "/*") {
                    depth += 1;
                    at += 2;
                } else if starts(at, "*/") {
                    depth -= 1;
                    at += 2;
                } else {
                    at += 1;
                }
                if depth == 0 || at >= text.len() {
                    break;
                }
            }
        } else if starts(at, "r\"") || starts(at, "r#\"") {
            let end = if starts(at, "r\"") { "\"" } else { "\"#" };
            at += 1 + end.len();
            while at < text.len() && !starts(at, end) {
                at += 1;
            }
            at += end.len();
        } else if text[at] == '"' {
            at = end_of_literal(&text, at);
        } else if text[at] == '\'' {
            // A lifetime has no second quote.
            let is_letter = starts(at + 1, "\\") || text.get(at + 2) == Some(&'\'');
            at = if is_letter {
                end_of_literal(&text, at)
            } else {
                at + 1
            };
        } else if is_name(at) {
            let start = at;
            while is_name(at) {
                at += 1;
            }
            tokens.push(Token(text[start..at].iter().collect()));
        } else if starts(at, "::") {
            tokens.push(Token("::".into()));
            at += 2;
        } else {
            if !text[at].is_whitespace() {
                tokens.push(Token(text[at].into()));
            }
            at += 1;
        }
    }
    tokens
}

/// Where a literal ends that begins with a quote.
fn end_of_literal(text: &[char], start: usize) -> usize {
    let mut at = start + 1;
    while at < text.len() && text[at] != text[start] {
        at += if text[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

/// Leaves out the items that are built for tests alone, modules of tests among them.
fn without_tests(tokens: Vec<Token>) -> Vec<Token> {
    let mut left = Vec::new();
    let mut rest = tokens.into_iter().peekable();
    while let Some(token) = rest.next() {
        if !(token.is("#") && rest.peek().is_some_and(|next| next.is("["))) {
            left.push(token);
            continue;
        }
        let attribute = balanced(&mut rest, "[", "]");
        let is_test = attribute.get(1).is_some_and(|word| word.is("cfg"))
            && attribute.iter().any(|word| word.is("test"))
            && !attribute
                .windows(3)
                .any(|three| three[0].is("not") && three[2].is("test"));
        if !is_test {
            continue;
        }
        while let Some(token) = rest.peek() {
            if token.is("{") {
                balanced(&mut rest, "{", "}");
                break;
            }
            let is_end = token.is(";");
            let is_attribute = token.is("#");
            rest.next();
            if is_attribute {
                balanced(&mut rest, "[", "]");
            } else if is_end {
                break;
            }
        }
    }
    left
}

/// Takes tokens from an opening one to the one that closes it.
fn balanced(tokens: &mut impl Iterator<Item = Token>, opening: &str, closing: &str) -> Vec<Token> {
    let mut depth = 0;
    let mut taken = Vec::new();
    for token in tokens {
        if token.is(opening) {
            depth += 1;
        } else if token.is(closing) {
            depth -= 1;
        }
        taken.push(token);
        if depth == 0 {
            break;
        }
    }
    taken
}
