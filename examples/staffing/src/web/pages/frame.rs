//! What stands around every page, and how figures are written.

use std::borrow::Borrow;

use staffing::{Role, users::User};

use crate::web::{app::App, refusal::Answer, session::Who};

/// What stands around every page.
#[derive(Default)]
pub(super) struct Frame {
    pub(super) user: Option<User>,
    pub(super) here: &'static str,
    pub(super) announcement: String,
}

impl Frame {
    /// For somebody, on the page of this address.
    pub(super) async fn of(app: &App, who: &Who, here: &'static str) -> Answer<Self> {
        let user = app.staffing().users.get(who.role, who.id).await?;
        Ok(Self { user, here, ..Self::empty(app).await })
    }

    /// For nobody in particular.
    pub(super) async fn empty(app: &App) -> Self {
        // A page is shown also where this cannot be read.
        let mut settings = app.staffing().settings.all().await.unwrap_or_default();
        Self { announcement: settings.remove("announcement").unwrap_or_default(), ..Self::default() }
    }

    /// Where the user can go.
    pub(super) fn links(&self) -> &'static [(&'static str, &'static str)] {
        match self.user.as_ref().map(|user| user.role) {
            Some(Role::Owner) => &[
                ("/home", "Home"),
                ("/employees", "Employees"),
                ("/contracts/new", "New contract"),
                ("/near", "Near a place"),
                ("/payments", "Subscriptions"),
            ],
            Some(Role::Employee) => &[("/home", "Home"), ("/near", "Near a place"), ("/payments", "Subscriptions")],
            Some(Role::Manager) => {
                &[("/home", "Home"), ("/near", "Near a place"), ("/manage", "Management"), ("/admin/cache", "Cache")]
            }
            None => &[],
        }
    }

    /// Minutes since midnight as `06:30`.
    pub(super) fn clock(minutes: impl Borrow<i64>) -> String {
        let minutes = minutes.borrow();
        format!("{:02}:{:02}", minutes / 60, minutes % 60)
    }

    /// Cents as `20.50 €`.
    pub(super) fn money(cents: impl Borrow<i64>) -> String {
        let cents = cents.borrow();
        format!("{}.{:02}\u{a0}€", cents / 100, cents % 100)
    }
}
