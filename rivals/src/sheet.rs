//! The results and their table.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use crate::transport::Transport;

/// The results of one experiment.
struct Row {
    title: String,
    label: &'static str,
    cells: BTreeMap<Transport, String>,
}

/// All results.
#[derive(Default)]
pub struct Sheet {
    rows: Vec<Row>,
    title: String,
    socket: String,
    /// Guarantees of xmem that did not hold.
    broken: Vec<String>,
}

impl Sheet {
    /// Starts an experiment; what follows belongs to it. The path of its socket is printed as X.
    pub fn begin(&mut self, title: String, socket: &Path) {
        self.title = title;
        self.socket = socket.display().to_string();
    }

    /// Adds a fact. Rows are printed in the order in which they were first added.
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
        // Messages of elements may contain vertical bars.
        let fact = fact
            .to_string()
            .replace('|', "\\|")
            .replace(&self.socket, "X");
        eprintln!("{transport}: {}: {label}: {fact}", self.title);
        self.rows[at].cells.insert(transport, fact);
    }

    /// Checks a guarantee of xmem. Other transports do not give it, so it is not checked for them.
    pub fn promise(&mut self, transport: Transport, holds: bool, what: &str) {
        if transport == Transport::Xmem && !holds {
            eprintln!("BROKEN: {what}");
            self.broken.push(what.to_owned());
        }
    }

    /// The guarantees that did not hold.
    pub fn broken(&self) -> &[String] {
        &self.broken
    }

    /// A table with one column for each of these transports.
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
        write!(f, "| experiment | observation |")?;
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
            let title = if std::mem::replace(&mut above, title) == title {
                ""
            } else {
                title
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
