//! What was found, and the table of it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use crate::transport::Transport;

/// What was seen of one thing.
struct Row {
    title: String,
    label: &'static str,
    cells: BTreeMap<Transport, String>,
}

/// The findings.
#[derive(Default)]
pub struct Sheet {
    rows: Vec<Row>,
    title: String,
    socket: String,
    /// Promises of xmem's that did not hold.
    broken: Vec<String>,
}

impl Sheet {
    /// What follows belongs to this experiment. Its socket's path, which says nothing to anybody, is called X.
    pub fn begin(&mut self, title: String, socket: &Path) {
        self.title = title;
        self.socket = socket.display().to_string();
    }

    /// Adds a fact; rows come in the order in which they are first written.
    pub fn add(&mut self, label: &'static str, transport: Transport, fact: impl fmt::Display) {
        let is_it = |row: &Row| row.title == self.title && row.label == label;
        let at = self.rows.iter().position(is_it).unwrap_or_else(|| {
            self.rows.push(Row {
                title: self.title.clone(),
                label,
                cells: BTreeMap::new(),
            });
            self.rows.len() - 1
        });
        // What the elements say may have bars in it.
        let fact = fact
            .to_string()
            .replace('|', "\\|")
            .replace(&self.socket, "X");
        eprintln!("{transport}: {}: {label}: {fact}", self.title);
        self.rows[at].cells.insert(transport, fact);
    }

    /// States what xmem promises; the others may do as they like.
    pub fn promise(&mut self, transport: Transport, holds: bool, what: &str) {
        if transport == Transport::Xmem && !holds {
            eprintln!("BROKEN: {what}");
            self.broken.push(what.to_owned());
        }
    }

    /// The promises that did not hold.
    pub fn broken(&self) -> &[String] {
        &self.broken
    }

    /// A table with these columns.
    pub fn table<'a>(&'a self, columns: &'a [Transport]) -> Table<'a> {
        Table {
            sheet: self,
            columns,
        }
    }
}

/// Prints as a table in Markdown.
pub struct Table<'a> {
    sheet: &'a Sheet,
    columns: &'a [Transport],
}

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "| what is done | what is seen |")?;
        for transport in self.columns {
            let [sink, source] = transport.elements();
            write!(f, " {sink} / {source} |")?;
        }
        writeln!(f, "\n|---|---|{}", "---|".repeat(self.columns.len()))?;
        let mut above = "";
        for Row {
            title,
            label,
            cells,
        } in &self.sheet.rows
        {
            let title = match std::mem::replace(&mut above, title) == title {
                true => "",
                false => title,
            };
            write!(f, "| {title} | {label} |")?;
            for transport in self.columns {
                let cell = cells.get(transport).map_or("", String::as_str);
                write!(f, " {cell} |")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
