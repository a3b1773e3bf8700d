//! What stands around every page, and how figures are written.

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
}

/// How figures are written.
#[allow(unreachable_pub, reason = "what the attribute makes of them")]
pub(super) mod filters {
    /// Minutes since midnight as `06:30`.
    #[askama::filter_fn]
    #[allow(clippy::unnecessary_wraps, reason = "filters may fail")]
    pub(in crate::web::pages) fn clock(minutes: &i64, _: &dyn askama::Values) -> askama::Result<String> {
        Ok(format!("{:02}:{:02}", minutes / 60, minutes % 60))
    }

    /// Cents as `20.50`.
    #[askama::filter_fn]
    #[allow(clippy::unnecessary_wraps, reason = "filters may fail")]
    pub(in crate::web::pages) fn money(cents: &i64, _: &dyn askama::Values) -> askama::Result<String> {
        Ok(format!("{}.{:02} €", cents / 100, cents % 100))
    }
}
