//! Begins a run of the source.

use std::sync::atomic::AtomicBool;

use gst::prelude::*;
use gst::subclass::prelude::*;
use xmem_core::Canceller;

use super::{State, XmemSrc};
use crate::xmemsrc::cuda::CudaFrames;
use crate::xmemsrc::keeping::Keeping;
use crate::xmemsrc::outofband::OutOfBand;
use crate::xmemsrc::plan::Plan;
use crate::xmemsrc::receiver::{Receiver, Source};
use crate::xmemsrc::settings::{Delivery, OnStarved};

impl XmemSrc {
    /// Begins a run. The streaming thread connects.
    ///
    /// # Errors
    /// A message for the bus: the settings name no channel.
    pub(super) fn begin(&self) -> Result<(), gst::ErrorMessage> {
        let settings = self.settings().clone();
        let channel = settings.channel.channel()?;
        let canceller = Canceller::new();
        let keeping = Keeping::new(Plan::new(
            settings.max_leases,
            settings.on_starved == OnStarved::Copy,
            settings.delivery == Delivery::Latest,
        ));
        let cuda = CudaFrames::new(
            self.obj().upcast_ref(),
            self.cuda.clone(),
            settings.cuda_device(),
        );
        let source = Source {
            name: self.obj().name().to_string(),
            cuda,
            settings,
        };
        let receiver = Receiver::new(
            channel,
            source,
            canceller.clone(),
            keeping.clone(),
            {
                let weak = self.obj().downgrade();
                let is_told = AtomicBool::new(false);
                move |change| {
                    if let Some(obj) = weak.upgrade() {
                        obj.imp().take_change(change, &is_told);
                    }
                }
            },
            OutOfBand::new(self.obj().upcast_ref(), {
                let weak = self.obj().downgrade();
                move || {
                    weak.upgrade()
                        .map_or(0, |source| source.imp().clock_offset())
                }
            }),
        );
        self.filter.reset();
        *self.state() = State {
            canceller: Some(canceller),
            keeping: Some(keeping),
            receiver: Some(Box::new(receiver)),
            asks_again: gst::version() >= (1, 24, 0, 0),
            ..State::default()
        };
        Ok(())
    }
}
