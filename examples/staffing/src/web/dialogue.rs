//! Registering a contract step by step: where, who, on which terms, and yes.
//!
//! What has been said so far is a state of the kit, by user: it is there in every instance, and after a restart.

use serde::{Deserialize, Serialize};
use staffing::{Day, Role, model::Contract, model::NewHire};
use staleproof::kit::StateError;

use super::{
    actions,
    app::App,
    fields::{number, text},
    refusal::{Answer, Refusal},
    session::Who,
};

/// What has been said so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Form {
    pub(crate) object: Option<(i64, String)>,
    pub(crate) person: Option<(String, String)>,
    pub(crate) terms: Option<(Day, i64)>,
}

/// What is said next.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "step", rename_all = "lowercase")]
pub(crate) enum Step {
    /// Where.
    Object { object_id: i64 },
    /// Who, and as what.
    Person { name: String, trade: String },
    /// From when on, and for how much an hour.
    Terms { starts_on: Day, hourly_cents: i64 },
    /// One step back.
    Back,
    /// Forget it all.
    Discard,
}

impl Form {
    /// The step that is to be said next, from 1; 4 is the last look.
    pub(crate) fn step(&self) -> usize {
        let said = [self.object.is_some(), self.person.is_some(), self.terms.is_some()];
        said.iter().take_while(|said| **said).count() + 1
    }

    fn back(mut self) -> Self {
        match self.step() {
            2 => self.object = None,
            3 => self.person = None,
            4 => self.terms = None,
            _ => {}
        }
        self
    }
}

/// What has been said so far. While Redis is out of reach: to this instance.
pub(crate) async fn said(app: &App, who: &Who) -> Answer<Form> {
    must_hire(who)?;
    match app.dialogues.get(&who.login()).await {
        Ok(form) => Ok(form.unwrap_or_default()),
        Err(StateError::Away(_)) => Ok(Form::default()),
        Err(error) => Err(error.into()),
    }
}

/// Says the next step.
pub(crate) async fn say(app: &App, who: &Who, step: Step) -> Answer<Form> {
    must_hire(who)?;
    let change: Box<dyn Fn(Form) -> Option<Form> + Send + Sync> = match step {
        Step::Object { object_id } => {
            let object = app.staffing().objects.get(object_id).await?.filter(|object| object.owner_id == who.id);
            let object = object.ok_or_else(|| Refusal::missing("object"))?;
            Box::new(move |form| Some(Form { object: Some((object_id, object.name.clone())), ..form }))
        }
        Step::Person { name, trade } => {
            let person = (text("name", &name, 100)?, text("trade", &trade, 50)?);
            Box::new(move |form| Some(Form { person: Some(person.clone()), ..form }))
        }
        Step::Terms { starts_on, hourly_cents } => {
            let hourly_cents = number("hourly_cents", hourly_cents, 1..=100_000)?;
            Box::new(move |form| Some(Form { terms: Some((starts_on, hourly_cents)), ..form }))
        }
        Step::Back => Box::new(|form| Some(form.back())),
        Step::Discard => Box::new(|_| None),
    };
    let said = app.dialogues.update(&who.login(), |form| change(form.unwrap_or_default())).await;
    if let Err(StateError::Away(_)) = said {
        // Nothing was said to this instance before: what is said now is the beginning, also when Redis is back.
        let form = change(Form::default()).unwrap_or_default();
        app.dialogues.put(&who.login(), &form).await?;
        return Ok(form);
    }
    Ok(said?.unwrap_or_default())
}

/// Says yes: the contract is made. Of those who say it at once, one makes it.
pub(crate) async fn finish(app: &App, who: &Who) -> Answer<Contract> {
    must_hire(who)?;
    let incomplete = || Refusal::conflict("there is nothing to say yes to: begin again");
    let form = app.dialogues.take(&who.login()).await?.ok_or_else(incomplete)?;
    let Form { object: Some((object_id, _)), person: Some((name, trade)), terms: Some((starts_on, hourly_cents)) } =
        form.clone()
    else {
        app.dialogues.put(&who.login(), &form).await?;
        return Err(incomplete());
    };
    let hire = NewHire { owner_id: who.id, object_id, name, trade, starts_on, hourly_cents };
    let made = actions::hire(app, who, hire).await;
    if made.is_err() {
        // Nothing was made: what was said is kept, to be changed.
        app.dialogues.put(&who.login(), &form).await?;
    }
    made
}

fn must_hire(who: &Who) -> Answer<()> {
    if who.role == Role::Owner { Ok(()) } else { Err(Refusal::forbidden()) }
}
