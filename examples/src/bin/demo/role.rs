//! Who takes part.

/// What a child of the demo is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Makes the clip, before the show.
    Encoder,
    /// Decodes the clip into shared memory.
    Producer,
    /// Receives by `xmemsrc`; starts before the producer.
    Viewer,
    /// Receives by `xmem-core` and measures the pixels.
    Meter,
    /// Receives by `xmemsrc`, is killed, and comes back.
    Phoenix,
}

/// The clients of the channel, in the order in which they start.
pub const CLIENTS: [Role; 3] = [Role::Viewer, Role::Meter, Role::Phoenix];

impl Role {
    /// What it is called, on the screen and as an argument.
    pub fn name(self) -> &'static str {
        match self {
            Role::Encoder => "encoder",
            Role::Producer => "producer",
            Role::Viewer => "viewer",
            Role::Meter => "meter",
            Role::Phoenix => "phoenix",
        }
    }

    /// The role of this name.
    pub fn from_name(name: &str) -> Option<Role> {
        [Role::Encoder, Role::Producer]
            .into_iter()
            .chain(CLIENTS)
            .find(|role| role.name() == name)
    }
}
