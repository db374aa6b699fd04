//! Faults that need no sandbox to be acted out.

use super::{Course, NativeRunner, interrupted};
use taps_engine::core::INJECTED_PARENT;
use taps_engine::{Attempt, Failure, FaultAction, FaultPlan, Output};
use taps_payload::Transfer;
use taps_sandbox::{
    Control,
    faults::{Disturbance, cannot, pause},
};

type Ran = Result<Vec<(Output, Transfer)>, Failure>;

impl NativeRunner {
    /// Runs an attempt that carries a fault.
    pub(super) fn run_with_fault(
        &self,
        attempt: &Attempt,
        plan: FaultPlan,
        control: &Control,
        course: &mut Course,
    ) -> Ran {
        match plan.action {
            FaultAction::Dependency if &*attempt.name == INJECTED_PARENT => {
                self.fault_code(attempt, plan, control, course)
            }
            // For the task itself there is nothing to do: its parent is the one that fails.
            FaultAction::Dependency => {
                self.run_task(attempt, control, &mut Disturbance::none(), course)
            }
            FaultAction::LostResult | FaultAction::LateDuplicate => {
                course.injected = Some(plan);
                self.run_task(attempt, control, &mut Disturbance::none(), course)
            }
            FaultAction::Failure | FaultAction::Import | FaultAction::ZeroDivision => {
                if let Some(mut ending) = Disturbance::ending(plan) {
                    self.run_task(attempt, control, &mut ending, course)?;
                }
                self.fault_code(attempt, plan, control, course)
            }
            FaultAction::SlowWorker => {
                if let Some(stalling) = Disturbance::stalling(plan) {
                    return self.disturbed(attempt, plan, control, stalling, course);
                }
                course.injected = Some(plan);
                control.sleep(pause(plan)).map_err(interrupted)?;
                self.run_task(attempt, control, &mut Disturbance::none(), course)
            }
            FaultAction::CorruptPayload => {
                let spoiling = Disturbance::spoiling(plan);
                self.disturbed(attempt, plan, control, spoiling, course)
            }
            FaultAction::Memory | FaultAction::Timeout | FaultAction::Ulimit => {
                Err(cannot(plan, "`native` has no sandbox to act it out in"))
            }
            FaultAction::ManagerKilled | FaultAction::NodeKilled | FaultAction::WorkerKilled => {
                let why = "`native` has no worker processes; `process-pool` has processes to kill";
                Err(cannot(plan, why))
            }
            FaultAction::ProgramCrash => {
                let crashing = Disturbance::crashing_a_program();
                self.disturbed(attempt, plan, control, crashing, course)
            }
        }
    }

    /// Runs the task with something done to it, which the report says if it was.
    fn disturbed(
        &self,
        attempt: &Attempt,
        plan: FaultPlan,
        control: &Control,
        mut disturbance: Disturbance,
        course: &mut Course,
    ) -> Ran {
        let ran = self.run_task(attempt, control, &mut disturbance, course);
        course.injected = disturbance.is_done().then_some(plan);
        ran
    }

    /// Runs the fault's own task in the place of the attempt's.
    fn fault_code(
        &self,
        attempt: &Attempt,
        plan: FaultPlan,
        control: &Control,
        course: &mut Course,
    ) -> Ran {
        let Some(task) = self.fault(plan.action.name()) else {
            return Err(cannot(plan, "this program has no tasks of faults"));
        };
        control.check().map_err(interrupted)?;
        course.injected = Some(plan);
        let attempt = Attempt {
            arguments: Vec::new(),
            fault: None,
            ..attempt.clone()
        };
        let mut undisturbed = Disturbance::none();
        let called = self.call(task, &attempt, control, &mut undisturbed, course);
        course.timeline.task_end = self.run.now_ns();
        self.publish_all(called?, &attempt, control, &mut undisturbed)
    }
}
