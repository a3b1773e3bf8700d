//! Payments: a draft for half an hour, which is looked after until the made-up bank has decided, and for five minutes at most.

use serde::{Deserialize, Serialize};
use staffing::{
    Role,
    subscriptions::{PLANS, Payment},
};
use staleproof::kit::Owned;

use super::{
    app::App,
    refusal::{Answer, Refusal},
    session::{self, Who},
    statement::now,
};

/// How long the bank is asked, in seconds.
const ASKED_FOR: u64 = 5 * 60;

/// How long the made-up bank thinks, in seconds.
const THINKS: u64 = 12;

/// Those of all users that the bank has not decided on.
const OPEN: &str = "open";

/// Where a payment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Stage {
    Pending,
    Paid,
    Declined,
    /// The bank did not decide in time.
    Undecided,
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Pending => "pending",
            Self::Paid => "paid",
            Self::Declined => "declined",
            Self::Undecided => "undecided",
        })
    }
}

/// A payment that has begun.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Draft {
    pub(crate) id: String,
    pub(crate) plan: String,
    pub(crate) cents: i64,
    pub(crate) stage: Stage,
    /// Seconds since 1970.
    pub(crate) began: u64,
    role: Role,
    user_id: i64,
}

/// What the made-up bank says, the same whoever asks: it thinks for a while, and declines what is called so.
fn bank(draft: &Draft, now: u64) -> Stage {
    match &*draft.plan {
        _ if now < draft.began + THINKS => Stage::Pending,
        "declined" => Stage::Declined,
        _ => Stage::Paid,
    }
}

fn key(owner: &str, id: &str) -> Owned<String, String> {
    Owned { owner: owner.to_owned(), id: id.to_owned() }
}

/// Begins a payment.
pub(crate) async fn begin(app: &App, who: &Who, plan: &str) -> Answer<Draft> {
    let Some((plan, cents)) = PLANS.into_iter().find(|(name, _)| *name == plan) else {
        return Err(Refusal::invalid("there is no such plan"));
    };
    let id = session::random_hex().map_err(|_| Refusal::conflict("the system has no random numbers"))?;
    let (plan, stage, began) = (plan.to_owned(), Stage::Pending, now());
    let draft = Draft { id, plan, cents, stage, began, role: who.role, user_id: who.id };
    app.drafts.put(&key(&who.login(), &draft.id), &draft).await?;
    app.drafts.put(&key(OPEN, &draft.id), &draft).await?;
    Ok(draft)
}

/// The payments of the last half hour.
pub(crate) async fn of(app: &App, who: &Who) -> Answer<Vec<Draft>> {
    Ok(app.drafts.list(&who.login()).await?.into_iter().map(|(_, draft)| draft).collect())
}

pub(crate) async fn one(app: &App, who: &Who, id: &str) -> Answer<Draft> {
    app.drafts.get(&key(&who.login(), id)).await?.ok_or_else(|| Refusal::missing("payment"))
}

/// Asks the bank for all that it has not decided on. How many it has; or why one of them failed, when all have been asked for.
pub(crate) async fn check(app: &App) -> Answer<usize> {
    let (mut decided, mut failed) = (0, None);
    for (id, draft) in app.drafts.list(&OPEN.to_owned()).await? {
        match settle(app, &id, &draft).await {
            Ok(is_decided) => decided += usize::from(is_decided),
            Err(refusal) => failed = failed.or(Some(refusal)),
        }
    }
    failed.map_or(Ok(decided), Err)
}

/// Asks the bank for one. Whether it has decided.
async fn settle(app: &App, id: &str, draft: &Draft) -> Answer<bool> {
    let stage = match bank(draft, now()) {
        Stage::Pending if now() > draft.began + ASKED_FOR => Stage::Undecided,
        Stage::Pending => return Ok(false),
        stage => stage,
    };
    if stage == Stage::Paid {
        let Draft { plan, cents, role, user_id, .. } = draft.clone();
        app.staffing().subscriptions.pay(&Payment { id: id.to_owned(), role, user_id, plan, cents }).await?;
    }
    let owner = format!("{}-{}", draft.role, draft.user_id);
    app.drafts.update(&key(&owner, id), |there| there.map(|draft| Draft { stage, ..draft })).await?;
    // Last: until here it is done again, if this instance ends.
    app.drafts.take(&key(OPEN, id)).await?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use staffing::{Db, args, seed::Scale};
    use staleproof::Cache;

    use super::*;
    use crate::web::{Serve, app::Inner};

    #[derive(Parser)]
    struct Program {
        #[command(flatten)]
        serve: Serve,
    }

    #[test]
    fn the_bank_says_the_same_to_whoever_asks() {
        let draft = |plan: &str| Draft { plan: plan.to_owned(), began: 1_000, ..begun("a", 1) };
        assert_eq!(bank(&draft("basic"), 1_000), Stage::Pending);
        assert_eq!(bank(&draft("basic"), 1_012), Stage::Paid);
        assert_eq!(bank(&draft("declined"), 1_012), Stage::Declined);
    }

    fn begun(id: &str, user_id: i64) -> Draft {
        let (plan, stage) = ("basic".to_owned(), Stage::Pending);
        Draft { id: id.to_owned(), plan, cents: 900, stage, began: 0, role: Role::Owner, user_id }
    }

    async fn app() -> App {
        let Program { serve } = Program::parse_from(["staffing"]);
        let scale = Scale { owners: 4, objects: 16, employees: 40, rounds: 2, days: 2 };
        let db = Db::in_memory(scale).await.expect("it opens");
        Inner::new(serve, db, &Cache::memory(), vec![0; 32])
    }

    #[tokio::test]
    async fn a_draft_that_fails_does_not_hold_up_the_others() {
        let app = app().await;
        let refusing = "
            CREATE TRIGGER refusing BEFORE INSERT ON payments WHEN NEW.user_id = 1 BEGIN SELECT RAISE(ABORT, 'no'); END";
        let mut tx = app.staffing().db.begin().await.expect("it begins");
        tx.execute(refusing, args![]).await.expect("there is a trigger");
        tx.commit().await.expect("it commits");
        for draft in [begun("a", 1), begun("b", 2), begun("c", 1)] {
            for owner in [&format!("owner-{}", draft.user_id), OPEN] {
                app.drafts.put(&key(owner, &draft.id), &draft).await.expect("it is kept");
            }
        }
        assert!(check(&app).await.is_err());
        let stage = async |owner: &str, id: &str| {
            app.drafts.get(&key(owner, id)).await.expect("it is kept").map(|draft| draft.stage)
        };
        assert_eq!(stage("owner-2", "b").await, Some(Stage::Paid));
        assert_eq!(stage("owner-1", "a").await, Some(Stage::Pending));
        assert_eq!(stage(OPEN, "b").await, None);
        assert_eq!(stage(OPEN, "c").await, Some(Stage::Pending), "it is asked for again");
    }
}
