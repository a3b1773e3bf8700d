//! What the services take and give.
//!
//! Money is in cents, times of day are minutes since midnight. Rows of joins are types of their own, one for each
//! question that is asked.

use serde::{Deserialize, Serialize};
use sqlx::FromRow;

use crate::Day;

macro_rules! status {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "lowercase")]
        pub enum $name { $($(#[$variant_doc])* $variant),+ }

        impl $name {
            /// As it is written in the database.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl TryFrom<String> for $name {
            type Error = UnknownStatus;

            fn try_from(text: String) -> Result<Self, UnknownStatus> {
                match text.as_str() {
                    $($text => Ok(Self::$variant),)+
                    _ => Err(UnknownStatus(text)),
                }
            }
        }
    };
}

/// The database holds a status that this release does not know.
#[derive(Debug, thiserror::Error)]
#[error("unknown status {0:?}")]
pub struct UnknownStatus(String);

status! {
    /// Where a contract stands.
    ContractStatus {
        /// Agreed, not begun.
        Planned = "planned",
        /// In force.
        Active = "active",
        /// Over.
        Terminated = "terminated",
    }
}

status! {
    /// Where a shift stands.
    ShiftStatus {
        /// To be worked.
        Booked = "booked",
        /// Worked.
        Done = "done",
        /// Called off.
        Cancelled = "cancelled",
    }
}

/// An employee as an owner sees them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, FromRow)]
pub struct Employee {
    /// The employee's id.
    pub id: i64,
    /// First and last name.
    pub name: String,
    /// What they are hired for.
    pub trade: String,
    /// How many contracts with this owner are in force.
    pub contracts: i64,
    /// The highest hourly rate of these, in cents.
    pub hourly_cents: i64,
}

/// A contract: an employee works for an owner at an object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, FromRow)]
pub struct Contract {
    /// The contract's id.
    pub id: i64,
    /// Who hires.
    pub owner_id: i64,
    /// Where the work is done.
    pub object_id: i64,
    /// Who works.
    pub employee_id: i64,
    /// The first day.
    pub starts_on: Day,
    /// The last day, if it is known.
    pub ends_on: Option<Day>,
    /// The hourly rate, in cents.
    pub hourly_cents: i64,
    /// Where the contract stands.
    #[sqlx(try_from = "String")]
    pub status: ContractStatus,
}

/// A contract in a list, with the names that a reader wants to see.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, FromRow)]
pub struct ContractLine {
    /// The contract itself.
    #[sqlx(flatten)]
    pub contract: Contract,
    /// The owner's name.
    pub owner: String,
    /// The object's name.
    pub object: String,
    /// The employee's name.
    pub employee: String,
}

/// One page of an owner's contracts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ContractPage {
    /// The contracts on this page, newest first.
    pub lines: Vec<ContractLine>,
    /// How many the owner has on all pages.
    pub total: i64,
}

/// A contract to be made.
#[derive(Clone, Debug)]
pub struct NewContract {
    /// Who hires.
    pub owner_id: i64,
    /// Where; an object of this owner.
    pub object_id: i64,
    /// Who works.
    pub employee_id: i64,
    /// The first day.
    pub starts_on: Day,
    /// The hourly rate, in cents.
    pub hourly_cents: i64,
}

/// An employee to be taken on, with a contract.
#[derive(Clone, Debug)]
pub struct NewHire {
    /// Who hires.
    pub owner_id: i64,
    /// Where; an object of this owner.
    pub object_id: i64,
    /// First and last name.
    pub name: String,
    /// What they are hired for.
    pub trade: String,
    /// The first day.
    pub starts_on: Day,
    /// The hourly rate, in cents.
    pub hourly_cents: i64,
}

/// New terms of a contract. What is `None` stays as it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct ContractChange {
    /// The hourly rate, in cents.
    pub hourly_cents: Option<i64>,
    /// The last day.
    pub ends_on: Option<Day>,
}

/// A place of work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, FromRow)]
pub struct Object {
    /// The object's id.
    pub id: i64,
    /// Whose it is.
    pub owner_id: i64,
    /// Its name.
    pub name: String,
    /// Street and number.
    pub street: String,
    /// The city.
    pub city: String,
    /// Degrees north.
    pub latitude: f64,
    /// Degrees east.
    pub longitude: f64,
}

/// An object as its owner sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, FromRow)]
pub struct ObjectSummary {
    /// The object itself.
    #[sqlx(flatten)]
    pub object: Object,
    /// How many contracts are in force here.
    pub contracts: i64,
}

/// An object as an employee who may enter it sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, FromRow)]
pub struct Place {
    /// The object itself.
    #[sqlx(flatten)]
    pub object: Object,
    /// The owner's name.
    pub owner: String,
}

/// An object to be added.
#[derive(Clone, Debug)]
pub struct NewObject {
    /// Whose it is.
    pub owner_id: i64,
    /// Its name.
    pub name: String,
    /// Street and number.
    pub street: String,
    /// The city.
    pub city: String,
    /// Degrees north.
    pub latitude: f64,
    /// Degrees east.
    pub longitude: f64,
}

/// New facts about an object. What is `None` stays as it is.
#[derive(Clone, Debug, Default)]
pub struct ObjectChange {
    /// Its name.
    pub name: Option<String>,
    /// Street and number.
    pub street: Option<String>,
}

/// A stretch of time at an object in which people can work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, FromRow)]
pub struct TimeSlot {
    /// The slot's id.
    pub id: i64,
    /// Where.
    pub object_id: i64,
    /// The day.
    pub day: Day,
    /// Its beginning, in minutes since midnight.
    pub starts: i64,
    /// Its end, in minutes since midnight.
    pub ends: i64,
    /// How many people it takes.
    pub capacity: i64,
    /// How many are booked into it, or have worked in it.
    pub taken: i64,
}

/// A time slot to be opened.
#[derive(Clone, Copy, Debug)]
pub struct NewSlot {
    /// Where.
    pub object_id: i64,
    /// The day.
    pub day: Day,
    /// Its beginning, in minutes since midnight.
    pub starts: i64,
    /// Its end, in minutes since midnight.
    pub ends: i64,
    /// How many people it takes.
    pub capacity: i64,
}

/// An employee is booked into a time slot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, FromRow)]
pub struct Shift {
    /// The shift's id.
    pub id: i64,
    /// The slot.
    pub slot_id: i64,
    /// Where.
    pub object_id: i64,
    /// Who works.
    pub employee_id: i64,
    /// The day.
    pub day: Day,
    /// Its beginning, in minutes since midnight.
    pub starts: i64,
    /// Its end, in minutes since midnight.
    pub ends: i64,
    /// Where the shift stands.
    #[sqlx(try_from = "String")]
    pub status: ShiftStatus,
}

/// A shift as the employee sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, FromRow)]
pub struct RosterLine {
    /// The shift itself.
    #[sqlx(flatten)]
    pub shift: Shift,
    /// The object's name.
    pub object: String,
    /// Street and city.
    pub address: String,
}

/// A shift as those at the object see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, FromRow)]
pub struct CrewLine {
    /// The shift itself.
    #[sqlx(flatten)]
    pub shift: Shift,
    /// The employee's name.
    pub employee: String,
    /// What they are hired for.
    pub trade: String,
}
