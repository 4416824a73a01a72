//! The table.

use std::fmt;

use crate::figures::{Column, Figures, Row};
use crate::plan::{Kind, Plan, clients_in_words};

/// Prints as the table of all figures.
pub struct Table<'a> {
    plan: &'a Plan,
    figures: &'a Figures,
    columns: &'a [Column],
}

impl<'a> Table<'a> {
    /// A table with the columns of these kinds, their ratio if both were measured, and the floor.
    pub fn new(plan: &'a Plan, figures: &'a Figures, columns: &'a [Column]) -> Self {
        Table {
            plan,
            figures,
            columns,
        }
    }

    fn row(&self, f: &mut fmt::Formatter<'_>, clients: usize, row: Row) -> fmt::Result {
        write!(f, "{:34}", row.label())?;
        for &column in self.columns {
            write!(
                f,
                "{:>11}",
                cell(self.figures.get(column, clients, row), row.decimals())
            )?;
        }
        let of = |kind| self.figures.get(Column::Kind(kind), clients, row);
        write!(f, "{:>11}", cell(ratio(of(Kind::Xmem), of(Kind::Shm)), 2))?;
        writeln!(
            f,
            "{:>11}",
            cell(
                self.figures.get(Column::Floor, clients, row),
                row.decimals()
            )
        )
    }

    fn loaded_futex(&self, f: &mut fmt::Formatter<'_>, clients: usize) -> fmt::Result {
        let of = |row: Row| {
            cell(
                self.figures.get(Column::Floor, clients, row),
                row.decimals(),
            )
        };
        let (p50, p99) = (of(Row::LoadedP50), of(Row::LoadedP99));
        writeln!(
            f,
            "a futex wake, if clients read a frame while the next is written: p50 {p50}, p99 {p99} \
             µs"
        )
    }
}

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Plan { rounds, frames, .. } = self.plan;
        writeln!(
            f,
            "1920x1080 RGB at 60 fps; median of {rounds} rounds of {frames} frames each"
        )?;
        for &clients in &self.plan.clients {
            write!(f, "\n{:34}", clients_in_words(clients))?;
            for column in self.columns {
                write!(
                    f,
                    "{:>11}",
                    if let Column::Kind(kind) = column {
                        kind.to_string()
                    } else {
                        String::new()
                    }
                )?;
            }
            writeln!(f, "{:>11}{:>11}", "xmem/shm", "floor")?;
            Row::TABLE
                .into_iter()
                .try_for_each(|row| self.row(f, clients, row))?;
            self.loaded_futex(f, clients)?;
        }
        Ok(())
    }
}

/// A figure, or a dash if it was not measured.
fn cell(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(|| "-".into(), |value| format!("{value:.decimals$}"))
}

/// The ratio; `None` if one of the two is missing or zero.
fn ratio(of: Option<f64>, to: Option<f64>) -> Option<f64> {
    of.zip(to)
        .filter(|(_, to)| *to > 0.0)
        .map(|(of, to)| of / to)
}
