//! What stands on the stage: the processes, the books, the screen.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use crate::child::{Child, Event};
use crate::guard::{self, Interrupted};
use crate::ledger::Ledger;
use crate::place::{self, Place};
use crate::report::{Figures, Order, Report, Sight};
use crate::role::Role;
use crate::screen::Screen;
use crate::table::{self, Rate};
use crate::{Result, clip, elements};

/// How often the table is renewed, and how often there is a line where there is no table.
const RENEWAL: Duration = Duration::from_millis(200);
const SUMMARY: Duration = Duration::from_secs(2);

/// All that takes part.
#[derive(Debug)]
pub struct Stage {
    /// Before the place: they go first when the show is broken off.
    children: BTreeMap<Role, Child>,
    pub place: Place,
    pub screen: Screen,
    pub ledger: Ledger,
    /// As of the last report.
    pub figures: Figures,
    /// Where the picture is to be.
    pub picture: PathBuf,
    /// Roles whose process is up, and roles that have come to their end.
    started: BTreeSet<Role>,
    ended: BTreeSet<Role>,
    /// Who was killed on purpose.
    killed: Option<Role>,
    /// Frames of the clip.
    encoded: u64,
    luma_and_motion: Option<(f64, f64)>,
    is_pictured: bool,
    renewed_at: Instant,
    sender: Sender<Event>,
    events: Receiver<Event>,
}

impl Stage {
    /// An empty stage.
    pub fn new(screen: Screen) -> Result<Stage> {
        elements::init()?;
        elements::check()?;
        let picture = place::picture()?;
        let (sender, events) = channel();
        guard::watch(&sender)?;
        Ok(Stage {
            children: BTreeMap::new(),
            place: Place::new()?,
            screen,
            ledger: Ledger::new(),
            figures: Figures::default(),
            picture,
            started: BTreeSet::new(),
            ended: BTreeSet::new(),
            killed: None,
            encoded: 0,
            luma_and_motion: None,
            is_pictured: false,
            renewed_at: Instant::now(),
            sender,
            events,
        })
    }

    // ---- orders

    /// Starts a role's process.
    pub fn start(&mut self, role: Role, event: &str) -> Result<()> {
        let child = Child::start(role, &self.place, &self.sender)?;
        let text = format!("{event} (process {})", child.pid());
        self.screen.event(role.name(), &text);
        self.children.insert(role, child);
        Ok(())
    }

    /// Kills a role's process.
    pub fn kill(&mut self, role: Role) -> Result<()> {
        let child = self
            .children
            .remove(&role)
            .ok_or("nobody is there to kill")?;
        let pid = child.pid();
        child.kill()?;
        self.killed = Some(role);
        self.screen.event(
            role.name(),
            &format!("killed by SIGKILL, with frames in its hands (process {pid})"),
        );
        Ok(())
    }

    /// Gives a role's process an order.
    pub fn order(&mut self, role: Role, order: &Order) -> Result<()> {
        let child = self.children.get_mut(&role).ok_or("nobody is there")?;
        child.order(order)
    }

    // ---- what there is

    /// Whether the role's process is up.
    pub fn has_started(&self, role: Role) -> bool {
        self.started.contains(&role)
    }

    /// Whether the role's process has played its part and is gone.
    pub fn has_ended(&self, role: Role) -> bool {
        self.ended.contains(&role) && !self.children.contains_key(&role)
    }

    /// Whether the role was killed.
    pub fn was_killed(&self, role: Role) -> bool {
        self.killed == Some(role)
    }

    /// Whether the picture was taken.
    pub fn is_pictured(&self) -> bool {
        self.is_pictured
    }

    /// Whether some children are left.
    pub fn is_empty(&self) -> bool {
        self.children.is_empty()
    }

    /// What there is to say about a client.
    pub fn remark(&self, role: Role) -> String {
        let is_there = self.children.contains_key(&role);
        match (role, self.luma_and_motion) {
            (Role::Viewer, _) => "xmemsrc, first".into(),
            (Role::Meter, Some((luma, motion))) => format!("luma {luma:.0}, motion {motion:.1}"),
            (Role::Meter, None) => "xmem-core".into(),
            _ if !self.was_killed(role) => "xmemsrc".into(),
            _ if is_there || self.ended.contains(&role) => "xmemsrc, back".into(),
            _ => "xmemsrc, killed".into(),
        }
    }

    // ---- what happens

    /// Lets happen what happens next, and keeps the screen up to date.
    pub fn step(&mut self) -> Result<()> {
        let left = self.period().saturating_sub(self.renewed_at.elapsed());
        match self.events.recv_timeout(left) {
            Ok(event) => self.on_event(event)?,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Err("nothing can happen".into()),
        }
        self.renew();
        Ok(())
    }

    /// How often the screen is renewed.
    fn period(&self) -> Duration {
        match self.screen.is_live() {
            true => RENEWAL,
            false => SUMMARY,
        }
    }

    fn renew(&mut self) {
        if self.renewed_at.elapsed() < self.period() {
            return;
        }
        self.renewed_at = Instant::now();
        if self.children.contains_key(&Role::Encoder) {
            let percent = self.encoded * 100 / clip::FRAMES;
            let text = format!("{} of {} frames, {percent} %", self.encoded, clip::FRAMES);
            self.screen.progress(Role::Encoder.name(), &text);
        } else if self.has_started(Role::Producer) {
            match self.screen.is_live() {
                true => self.screen.renew(table::table(self, Rate::Now)),
                false => self.screen.event("", &table::summary(self)),
            }
        }
    }

    fn on_event(&mut self, event: Event) -> Result<()> {
        match event {
            Event::Said(role, report) => self.on_report(role, report)?,
            Event::Complained(role, line) => self.screen.event(role.name(), &line),
            Event::Silent(role, pid) => self.on_silence(role, pid)?,
            Event::Interrupted => return Err(Interrupted.into()),
        }
        Ok(())
    }

    fn on_report(&mut self, role: Role, report: Report) -> Result<()> {
        match report {
            Report::Started => {
                self.started.insert(role);
                self.ledger.begin_life(role);
            }
            Report::Encoded(frames) => self.encoded = frames,
            Report::Published(sight) => self.ledger.publish(sight)?,
            Report::Received(sight) => self.on_frame(role, sight),
            Report::Measured { luma, motion } => self.luma_and_motion = Some((luma, motion)),
            Report::Counted(figures) => self.figures = figures,
            Report::Pictured => self.is_pictured = true,
            Report::Warned(text) => self.screen.event(role.name(), &format!("warns: {text}")),
            Report::Ended => drop(self.ended.insert(role)),
            Report::Failed(text) => return Err(format!("{}: {text}", role.name()).into()),
        }
        Ok(())
    }

    fn on_frame(&mut self, client: Role, sight: Sight) {
        self.ledger.receive(client, sight);
        let account = self.ledger.account(client);
        match (account.life(0), account.life(1)) {
            (Some((first, last)), None) if first == last => {
                let text = format!("receives, from frame {first} on");
                self.screen.event(client.name(), &text);
            }
            (Some((_, before)), Some((first, last))) if first == last => {
                let away = first.saturating_sub(before + 1);
                let text = format!("is back, from frame {first} on: {away} went by meanwhile");
                self.screen.event(client.name(), &text);
            }
            _ => {}
        }
    }

    /// A child says no more: its part is played, or it was killed, or it has crashed.
    fn on_silence(&mut self, role: Role, pid: u32) -> Result<()> {
        let Some(mut child) = self.children.remove(&role) else {
            return Ok(());
        };
        if child.pid() != pid {
            // An earlier process of this role.
            self.children.insert(role, child);
            return Ok(());
        }
        let status = child.wait()?;
        match status.success() && self.ended.contains(&role) {
            true => Ok(()),
            false => Err(format!("the {} has ended early: {status}", role.name()).into()),
        }
    }
}
