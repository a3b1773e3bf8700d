//! Values of every serde shape come back as they were, by every codec that can carry them; nothing else comes back.
#![cfg(feature = "auto")]

mod values {
    mod corruption;
    mod hostile;
    mod releases;
    mod shapes;
}
