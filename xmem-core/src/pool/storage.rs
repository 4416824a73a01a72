//! The memory that slots are made of, and that there are clients which do not take.

use super::Pool;
use crate::clients::ClientId;
use crate::error::Refusal;
use crate::segment::{MemoryKind, Storage, Takes};

impl Pool {
    pub(crate) fn storage(&self) -> &Storage {
        &self.storage
    }

    /// From now on slots are made of other memory. Those there are go as they become free. Clients that do
    /// not take it are evicted.
    pub(crate) fn set_storage(&mut self, storage: Storage) {
        self.storage = storage;
        // As before the first frame: none of those there are can be used for the next one.
        self.slot_size = 0;
        self.outdate(|_, _| true);
        self.assign();
        let clients = self.clients.iter().filter(|client| !client.evicted);
        let unwanted: Vec<_> = clients
            .filter_map(|client| Some((client.id, self.refuses(client.identity.takes)?)))
            .collect();
        self.evict_unwanted(unwanted);
    }

    /// Why a client is not taken in that takes these kinds of memory, if it is not.
    pub(crate) fn refuses(&self, takes: Takes) -> Option<Refusal> {
        match self.storage.device() {
            Some(device) if !takes.cuda => Some(Refusal::CudaOnly { device }),
            device => {
                let is_unsealed = self.unsealed_only || device.is_some();
                (is_unsealed && !takes.unsealed).then_some(Refusal::UnsealedOnly)
            }
        }
    }

    /// Has a client not taken in, or evicted, where no frame is in memory that it takes.
    pub(crate) fn set_unsealed_only(&mut self, only: bool) {
        self.unsealed_only = only;
        if only {
            let refusing = self.clients.refusing(MemoryKind::DmaBuf);
            let unwanted = refusing.map(|id| (id, Refusal::UnsealedOnly)).collect();
            self.evict_unwanted(unwanted);
        }
    }

    fn evict_unwanted(&mut self, unwanted: Vec<(ClientId, Refusal)>) {
        for (id, _) in &unwanted {
            self.clients.evict(*id);
        }
        self.unwanted.extend(unwanted);
    }
}
