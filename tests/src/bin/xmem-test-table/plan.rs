//! The plan: the command line.

use xmem_tests::roles::Result;

use crate::row::{Group, Row};

/// The options of a run.
#[derive(Debug)]
pub struct Plan {
    /// A selection of rows, in less than a minute, without judging times.
    pub short: bool,
    /// The groups to run; all if this is empty.
    groups: Vec<Group>,
    /// Only rows whose titles contain this are run.
    only: String,
    /// Number of rows that run at the same time.
    pub lanes: usize,
    /// The maximum number of times that clients join late.
    pub joins: Option<u32>,
    /// Only print the titles of the rows.
    pub list: bool,
}

impl Plan {
    /// Reads `--short`, `--group NAME`, `--only TITLE`, `--lanes N`, `--joins N`, `--list`.
    pub fn parse(arguments: &[&str]) -> Result<Plan> {
        let mut plan = Plan {
            short: false,
            groups: Vec::new(),
            only: String::new(),
            lanes: 4,
            joins: None,
            list: false,
        };
        let mut arguments = arguments.iter();
        while let Some(&argument) = arguments.next() {
            let mut value = || {
                let value = arguments.next().copied();
                value.ok_or_else(|| format!("{argument} needs a value"))
            };
            match argument {
                "--short" => plan.short = true,
                "--list" => plan.list = true,
                "--only" => plan.only = value()?.into(),
                "--lanes" => plan.lanes = value()?.parse::<usize>()?.max(1),
                "--joins" => plan.joins = Some(value()?.parse()?),
                "--group" => plan.groups.push(group(value()?)?),
                other => {
                    return Err(format!(
                        "unknown option {other:?}; known: --short, --group, --only, --lanes, --joins, --list"
                    )
                    .into());
                }
            }
        }
        if plan.short {
            plan.joins = plan.joins.or(Some(3));
        }
        Ok(plan)
    }

    /// Whether the plan includes a row.
    pub fn wants(&self, row: &Row) -> bool {
        (row.short || !self.short)
            && (self.groups.is_empty() || self.groups.contains(&row.group))
            && row.title().contains(&self.only)
    }
}

fn group(name: &str) -> Result<Group> {
    let known = || Group::ALL.map(Group::name).join(", ");
    let group = Group::ALL.into_iter().find(|group| group.name() == name);
    group.ok_or_else(|| format!("unknown group {name:?}; known: {}", known()).into())
}
