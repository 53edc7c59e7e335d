//! The loop of a run, whatever is trained: steps, reports, checkpoints, validations, the end.

use super::checkpoint::{self, Kind, checkpoint_path};
use super::course::Course;
use super::event::{Event, Outcome};
use super::learner::Learner;
use super::task::{Progress, Task};
use crate::align::Figures;
use crate::gpu::{Engine, Plan, Readback};
use crate::nn::{NetworkFile, ScaleReadback, SceneRecord, StepFactors};
use crate::{Error, Result};
use std::collections::VecDeque;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// A run: what lives on the device, and where it stands.
struct Run<'a, T: Task> {
    engine: &'a Engine,
    task: T,
    course: Course,
    learner: Learner,
    /// Sampler, and what of the network comes before its pause, if there is one.
    before: Option<Plan>,
    /// Sampler (unless it is there already), both passes, optimiser.
    step_plan: Plan,
    records: Vec<SceneRecord>,
    out: &'a Path,
    progress: Progress<T::State>,
    pending: Option<Pending>,
    recent: VecDeque<Instant>,
    not_finite: usize,
}

/// A step whose loss is on its way back.
struct Pending {
    step: usize,
    lr: f64,
    loss: Readback,
    told: Option<Readback>,
    figures: Option<Figures>,
    scale: Option<ScaleReadback>,
}

/// Steps without a finite loss in a row after which a run is given up.
const NOT_FINITE: usize = 20;

/// Steps that the rate is taken over, and one.
const RATED: usize = 20;

/// Trains and writes the model, which names the scenes of `records`, to `out`; checkpoints go beside it. `stop` may be raised at any time.
pub(super) fn run<T: Task>(
    engine: &Engine,
    task: T,
    learner: Learner,
    records: Vec<SceneRecord>,
    out: &Path,
    resume: bool,
    stop: &AtomicBool,
    mut on: impl FnMut(Event),
) -> Result<Outcome> {
    let mut run = Run::new(engine, task, learner, records, out, resume)?;
    run.start(&mut on)?;
    let total = run.course.total();
    while run.progress.step < total {
        run.step(&mut on)?;
        let stopping = stop.load(Ordering::Relaxed);
        run.look_around(stopping, &mut on)?;
        let step = run.progress.step;
        if stopping && step < total {
            return Ok(Outcome::Stopped { step });
        }
    }
    run.finish()?;
    Ok(Outcome::Finished)
}

impl<'a, T: Task> Run<'a, T> {
    fn new(engine: &'a Engine, task: T, learner: Learner, records: Vec<SceneRecord>, out: &'a Path, resume: bool) -> Result<Self> {
        let mut step_plan = task.sampling().clone();
        let pause = learner.plan.pause.as_ref().map(|p| step_plan.len() + p.after);
        step_plan.extend(learner.plan.plan.clone());
        step_plan.extend(learner.optimizer.plan.clone());
        let (before, step_plan) = match pause {
            Some(n) => {
                let [before, after] = step_plan.split_at(n);
                (Some(before), after)
            }
            None => (None, step_plan),
        };
        let progress = match resume {
            true => checkpoint::load(&checkpoint_path(out), engine, &task, &records, &learner)?,
            false => Progress { init_hash: learner.init_hash.clone(), ..Progress::default() },
        };
        Ok(Self {
            engine,
            course: task.course(),
            task,
            learner,
            before,
            step_plan,
            records,
            out,
            progress,
            pending: None,
            recent: VecDeque::from([Instant::now()]),
            not_finite: 0,
        })
    }

    /// Tells of the run, and prepares what is left of a pass that an earlier call has begun.
    fn start(&mut self, on: &mut impl FnMut(Event)) -> Result<()> {
        let (step, total, every) = (self.progress.step, self.course.total(), self.course.steps);
        let (parameters, bytes) = (self.learner.parameters(), self.learner.plan.bytes);
        let flops = self.step_plan.flops() + self.before.as_ref().map_or(0.0, Plan::flops);
        on(Event::Start { step, total, parameters, flops, bytes });
        if step < total && !step.is_multiple_of(every) {
            self.task.resume_epoch(self.engine, &self.learner, step / every)?;
        }
        Ok(())
    }

    /// After a step: a checkpoint and a validation, where they are due.
    fn look_around(&mut self, stopping: bool, on: &mut impl FnMut(Event)) -> Result<()> {
        let (step, course) = (self.progress.step, self.course);
        let last = step == course.total();
        let validating = step.is_multiple_of(course.steps) && ((step / course.steps).is_multiple_of(course.validate_every) || last);
        // The first checkpoint comes early, so that a folder that cannot be written shows at once, not after an hour; but a run that
        // cannot do a single step leaves none in the way of the corrected command.
        let saving = last || stopping || step == 1 || step.is_multiple_of(course.checkpoint_every);
        if validating || saving {
            self.collect(on)?;
        }
        if validating {
            // A validation that fails must not cost the steps before it.
            if saving {
                self.save(on)?;
            }
            let figures = self.task.validate(self.engine, &self.learner, step)?;
            self.progress.validation.push(figures.clone());
            on(Event::Validation { step, figures });
            self.recent = VecDeque::from([Instant::now()]);
        }
        if saving {
            self.save(on)?;
        }
        Ok(())
    }

    /// Submits one step and reports the one before it.
    fn step(&mut self, on: &mut impl FnMut(Event)) -> Result<()> {
        let step = self.progress.step;
        if step.is_multiple_of(self.course.steps) {
            self.collect(on)?;
            self.task.start_epoch(self.engine, &self.learner, step / self.course.steps, &mut self.progress.state)?;
        }
        self.task.start_step(self.engine, step, &mut self.progress.state)?;
        let lr = self.course.learning_rate(step);
        self.learner.optimizer.set(self.engine, StepFactors { lr, step: step as u64 + 1 })?;
        let aligned = self.learner.aligned.as_ref();
        if let Some(aligned) = aligned {
            aligned.before_step(self.engine, step as f64 / self.course.total() as f64)?;
        }
        if let Some(before) = &self.before {
            before.submit(self.engine)?;
            self.task.pause(self.engine, &self.learner, step)?;
        }
        self.step_plan.submit(self.engine)?;
        if let Some(aligned) = aligned {
            aligned.after_step(self.engine, step)?;
        }
        let loss = self.engine.start_read(&self.learner.plan.outputs[0])?;
        let told = self.task.watched(&self.learner).map(|t| self.engine.start_read(t)).transpose()?;
        let figures = aligned.map(|a| a.figures(self.engine)).transpose()?;
        let scale = self.learner.optimizer.start_scale(self.engine)?;
        let previous = self.pending.replace(Pending { step: step + 1, lr, loss, told, figures, scale });
        self.progress.step += 1;
        previous.map_or(Ok(()), |p| self.report(p, on))
    }

    /// Waits for the last step.
    fn collect(&mut self, on: &mut impl FnMut(Event)) -> Result<()> {
        let last = self.pending.take();
        last.map_or(Ok(()), |p| self.report(p, on))
    }

    fn report(&mut self, pending: Pending, on: &mut impl FnMut(Event)) -> Result<()> {
        let Pending { step, lr, loss, told, figures, scale } = pending;
        let loss = loss.finish::<f32>(self.engine)?[0];
        let told: Vec<f32> = told.map_or(Ok(Vec::new()), |t| t.finish(self.engine))?;
        let accuracy = self.task.note(step - 1, &told, &mut self.progress.state);
        let mut figures = figures.map_or(Ok(Vec::new()), |f| f.finish(self.engine))?;
        let scale = scale.map(|s| s.finish(self.engine)).transpose()?;
        figures.extend(scale.map(|(scale, _)| ("loss scale", scale)));
        let rate = self.rate();
        on(Event::Step { step, loss, accuracy, lr, rate, figures });
        // A scale that was too large is lowered, and the next step may be right: only one that cannot be lowered is a fault.
        let right = loss.is_finite() && !scale.is_some_and(|(scale, skipped)| skipped && scale <= 1.0);
        self.judge(step, right, on)
    }

    /// Notes that a step was reported, and gives the items a second over the last ones.
    fn rate(&mut self) -> f64 {
        self.recent.push_back(Instant::now());
        if self.recent.len() > RATED {
            self.recent.pop_front();
        }
        let seconds = self.recent[0].elapsed().as_secs_f64().max(1e-9);
        (self.course.items * (self.recent.len() - 1)) as f64 / seconds
    }

    /// Gives a run up whose steps are wrong for too long.
    fn judge(&mut self, step: usize, right: bool, on: &mut impl FnMut(Event)) -> Result<()> {
        self.not_finite = if right { 0 } else { self.not_finite + 1 };
        if self.not_finite > 0 {
            on(Event::Skipped(step));
        }
        if self.not_finite >= NOT_FINITE {
            return Err(Error::invalid(format!(
                "the loss or its gradient was not finite in {NOT_FINITE} steps in a row (up to step {step}); lower optimizer.lr, or look for broken values in the scenes"
            )));
        }
        Ok(())
    }

    fn save(&self, on: &mut impl FnMut(Event)) -> Result<()> {
        let manifest = checkpoint::manifest(Kind::Checkpoint, self.engine, &self.task, &self.records, &self.progress)?;
        checkpoint::save(&checkpoint_path(self.out), manifest, self.engine, &self.learner)?;
        on(Event::Checkpoint(self.progress.step));
        Ok(())
    }

    /// Writes the model (the towers, without the loss's temperature) and removes the checkpoint.
    fn finish(&self) -> Result<()> {
        let manifest = checkpoint::manifest(Kind::Model, self.engine, &self.task, &self.records, &self.progress)?;
        let manifest = self.task.finished(manifest)?;
        let mut tensors = self.learner.judged().read(self.engine)?;
        tensors.retain(|name, _| !name.starts_with("loss."));
        tensors.extend(self.task.kept());
        NetworkFile { manifest, tensors }.save(self.out)?;
        let file = checkpoint_path(self.out);
        std::fs::remove_file(&file)
            .map_err(|e| Error::io(&file, format!("the model is written, but this checkpoint cannot be removed ({e})"), e))
    }
}

#[cfg(test)]
mod tests;
