//! What `tracer explain` answers, section by section, from inventories and events.

mod aliases;
mod attempts;
mod drops;
mod names;
mod path;
mod question;
mod services;
mod targets;
