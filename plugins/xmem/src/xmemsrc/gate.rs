//! Which frames can be decoded: after a loss none before the next sync point. Pure.

use xmem_core::Role;

/// Holds back what can't be decoded.
#[derive(Debug)]
pub(super) struct Gate {
    /// Dependent frames are not pushed.
    holds_back: bool,
    /// A frame was lost that others may need, and none that needs no other has followed.
    has_lost: bool,
    /// A key unit was not requested since.
    is_due: bool,
    /// Key units are requested at all.
    requests: bool,
}

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Push,
    /// The next frames decide.
    Keep,
    /// It can't be decoded, nor what was kept before it.
    Skip,
}

impl Gate {
    pub(super) fn new(holds_back: bool, requests: bool) -> Gate {
        Gate {
            holds_back,
            requests,
            has_lost: true,
            is_due: true,
        }
    }

    /// What comes next does not follow what was pushed last.
    pub(super) fn lose(&mut self) {
        (self.has_lost, self.is_due) = (true, true);
    }

    /// What becomes of the next frame.
    pub(super) fn judge(&mut self, role: Role) -> Verdict {
        if !self.has_lost {
            return Verdict::Push;
        }
        let verdict = match role {
            Role::SyncPoint => {
                self.has_lost = false;
                Verdict::Push
            }
            Role::Leading => Verdict::Keep,
            Role::Dependent => Verdict::Skip,
        };
        if self.holds_back {
            verdict
        } else {
            Verdict::Push
        }
    }

    /// Whether to request a key unit after the frame that was judged: once for each loss.
    pub(super) fn is_due(&self, role: Role) -> bool {
        self.requests && self.has_lost && self.is_due && role == Role::Dependent
    }

    /// It was requested.
    pub(super) fn request(&mut self) {
        self.is_due = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use Role::{Dependent as D, Leading as L, SyncPoint as S};
    use Verdict::{Keep, Push, Skip};

    fn judge(gate: &mut Gate, roles: &[Role]) -> (Vec<Verdict>, u32) {
        let mut requests = 0;
        let verdicts = roles.iter().map(|role| {
            let verdict = gate.judge(*role);
            if gate.is_due(*role) {
                requests += 1;
                gate.request();
            }
            verdict
        });
        (verdicts.collect(), requests)
    }

    #[test]
    fn after_a_loss_no_dependent_frame_comes_before_a_sync_point() {
        let mut gate = Gate::new(true, true);
        let expected = [Skip, Skip, Keep, Skip, Keep, Push, Push, Push];
        assert_eq!(
            judge(&mut gate, &[D, D, L, D, L, S, D, L]),
            (expected.to_vec(), 1)
        );
        gate.lose();
        assert_eq!(
            judge(&mut gate, &[D, D, S, D]),
            (vec![Skip, Skip, Push, Push], 1)
        );
        gate.lose();
        assert_eq!(judge(&mut gate, &[S, D]), (vec![Push, Push], 0));
    }

    #[test]
    fn where_all_are_wanted_a_key_unit_is_requested_and_nothing_held_back() {
        let mut gate = Gate::new(false, true);
        assert_eq!(judge(&mut gate, &[D, L, D, S, D]), (vec![Push; 5], 1));
        let mut gate = Gate::new(true, false);
        assert_eq!(judge(&mut gate, &[D, S]), (vec![Skip, Push], 0));
    }
}
