//! One ball on the terrain, by rapier.
//!
//! rapier's y axis points up: its (x, y, z) is our (x, z, y), with the middle of the terrain at 0.
//! That mirrors the world, which no law of motion minds.
//!
//! Friction is that of TaPS's engine, Bullet, for the numbers that TaPS sets. Bullet multiplies the
//! coefficients of ball and ground, and adds a torque against rolling and turning of at most
//! [`ROLLING_FRICTION_M`] times the normal force. For balls of up to 0.5 m that is more than friction
//! can turn them with, so they slide and never turn: here, their rotation is locked. Larger balls
//! roll, and after each step lose what that torque takes from them.

use rapier3d::math::Vector;
use rapier3d::parry::utils::Array2;
use rapier3d::prelude::*;
use std::time::Duration;
use taps::Array;

/// Gravity in m/s².
pub(crate) const GRAVITY: f64 = 9.81;
/// Friction of ball and ground: TaPS's 0.2 and Bullet's 0.5, multiplied.
const FRICTION: f32 = 0.2 * 0.5;
/// Largest torque against rolling and turning per normal force: TaPS's 0.05, times Bullet's 0.5.
const ROLLING_FRICTION_M: f32 = 0.05 * 0.5;
/// Part of the velocity that the air takes in a second: Bullet's 0.04.
const AIR_DAMPING: f32 = 0.04;
/// Moment of inertia of a ball, relative to mass times square of the radius.
const INERTIA: f32 = 0.4;

/// What is simulated.
#[taps::value]
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Settings {
    /// Diameter of the ball in metres.
    pub(crate) diameter: f64,
    /// Mass of the ball in kilograms.
    pub(crate) mass: f64,
    /// Steps per second.
    pub(crate) tick_rate: u32,
    /// Steps in all.
    pub(crate) steps: u64,
    /// Whether a simulated second takes a second.
    pub(crate) real_time: bool,
    /// Vertices of the terrain per metre.
    pub(crate) resolution: u32,
}

/// How a ball starts.
#[taps::value]
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Start {
    /// Position of its middle in metres.
    pub(crate) position: [f64; 3],
    /// Velocity in m/s.
    pub(crate) velocity: [f64; 3],
}

/// How a ball ends.
#[taps::value]
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct End {
    /// Position of its middle in metres.
    pub(crate) position: [f64; 3],
    /// Energy of movement and height at the start, in joules.
    pub(crate) start_energy: f64,
    /// The same at the end.
    pub(crate) final_energy: f64,
    /// Largest rise of the energy above what it was at any time before, in joules.
    pub(crate) energy_rise: f64,
}

/// Simulates one ball.
#[taps::task(pure)]
pub(crate) fn simulate(terrain: &Array<f32>, start: Start, settings: Settings) -> End {
    let begin = taps::clock();
    let mut world = World::new(terrain, &start, &settings);
    let start_energy = world.energy();
    let (mut lowest, mut energy_rise, mut final_energy) = (start_energy, 0.0f64, start_energy);
    for step in 1..=settings.steps {
        world.step();
        final_energy = world.energy();
        lowest = lowest.min(final_energy);
        // Not `max`, which drops what is no number.
        let rise = final_energy - lowest;
        energy_rise = if rise <= energy_rise {
            energy_rise
        } else {
            rise
        };
        if settings.real_time {
            let due = Duration::from_secs_f64(step as f64 / f64::from(settings.tick_rate));
            let early = (begin + due).saturating_sub(taps::clock());
            if !early.is_zero() {
                taps::sleep(early);
            }
        }
    }
    End {
        position: world.position(),
        start_energy,
        final_energy,
        energy_rise,
    }
}

/// A ball, the ground, and walls around it.
struct World {
    physics: PhysicsWorld,
    ball: RigidBodyHandle,
    /// Half the side of the terrain.
    half: f64,
    radius: f32,
    mass: f64,
    /// Whether the ball turns, see the module.
    rolls: bool,
}

impl World {
    fn new(terrain: &Array<f32>, start: &Start, settings: &Settings) -> Self {
        let length = (terrain.rows() - 1) as f64 / f64::from(settings.resolution);
        let (half, radius) = (length / 2.0, (settings.diameter / 2.0) as f32);
        let rolls = ROLLING_FRICTION_M < FRICTION * radius;
        let mut physics = PhysicsWorld {
            gravity: Vector::new(0.0, -GRAVITY as f32, 0.0),
            ..PhysicsWorld::default()
        };
        physics.integration_parameters.dt = 1.0 / settings.tick_rate as f32;
        physics.integration_parameters.length_unit = settings.diameter as f32;
        physics.insert_collider(ground(terrain, length as f32), None);
        let top = (start.position[2] + settings.diameter) as f32;
        for wall in walls(half as f32, top) {
            physics.insert_collider(wall, None);
        }
        let [x, y, z] = start.position.map(|metres| metres as f32);
        let half_side = half as f32;
        let mut body = RigidBodyBuilder::dynamic()
            .translation(Vector::new(x - half_side, z, y - half_side))
            .linvel(upright(start.velocity))
            .linear_damping(AIR_DAMPING)
            .angular_damping(AIR_DAMPING)
            .can_sleep(false)
            .ccd_enabled(true);
        if !rolls {
            body = body.lock_rotations();
        }
        let shape = ColliderBuilder::ball(radius)
            .mass(settings.mass as f32)
            .friction(FRICTION)
            .friction_combine_rule(CoefficientCombineRule::Min);
        let (ball, _) = physics.insert(body, shape);
        Self {
            physics,
            ball,
            half,
            radius,
            mass: settings.mass,
            rolls,
        }
    }

    fn step(&mut self) {
        let before = self.physics.bodies[self.ball].linvel();
        self.physics.step();
        if self.rolls {
            self.resist(before);
        }
    }

    /// Takes from a ball what friction against rolling and turning takes in a step. Its impulse of
    /// contact is what changed its velocity besides gravity.
    fn resist(&mut self, before: Vector) {
        let dt = self.physics.integration_parameters.dt;
        let gravity = self.physics.gravity;
        let ball = &mut self.physics.bodies[self.ball];
        let pushed = ball.linvel() - before - gravity * dt;
        let strength = pushed.length();
        let turning = ball.angvel();
        let speed = turning.length();
        if strength <= 0.0 || speed <= 0.0 {
            return;
        }
        // A ball that rolls has to be slowed with its mass, too; one that slides loses a bit much.
        let inertia = (1.0 + INERTIA) * self.radius * self.radius;
        let part = (ROLLING_FRICTION_M * strength / inertia / speed).min(1.0);
        let arm = pushed / strength * self.radius;
        let rolling = turning.cross(arm);
        let forward = rolling.length();
        ball.set_angvel(turning * (1.0 - part), true);
        if forward > 0.0 {
            let direction = rolling / forward;
            let along = ball.linvel().dot(direction);
            let lost = (part * forward).min(along.max(0.0));
            ball.set_linvel(ball.linvel() - direction * lost, true);
        }
    }

    fn position(&self) -> [f64; 3] {
        let place = self.physics.bodies[self.ball].translation();
        let [x, y, z] = [place.x, place.z, place.y].map(f64::from);
        [x + self.half, y + self.half, z]
    }

    /// Energy of movement, turning and height above 0.
    fn energy(&self) -> f64 {
        let ball = &self.physics.bodies[self.ball];
        let square = |vector: Vector| f64::from(vector.length_squared());
        let radius = f64::from(self.radius);
        let turning = f64::from(INERTIA) * radius * radius * square(ball.angvel());
        let height = f64::from(ball.translation().y);
        self.mass * (0.5 * (square(ball.linvel()) + turning) + GRAVITY * height)
    }
}

/// One of our vectors as one of rapier's.
fn upright([x, y, z]: [f64; 3]) -> Vector {
    Vector::new(x as f32, z as f32, y as f32)
}

/// The terrain as a field of heights.
fn ground(terrain: &Array<f32>, length: f32) -> ColliderBuilder {
    let side = terrain.rows();
    let heights = Array2::from_fn(side, side, |row, column| terrain[(row, column)]);
    let scale = Vector::new(length, 1.0, length);
    // Without the flag, a ball that slides bumps into edges between triangles of a slope.
    let flags = HeightFieldFlags::FIX_INTERNAL_EDGES;
    ColliderBuilder::heightfield_with_flags(heights, scale, flags).friction(FRICTION)
}

/// Four walls at the edges of the terrain, up to `top`, which no ball gets over.
fn walls(half: f32, top: f32) -> [ColliderBuilder; 4] {
    [(1.0, 0.0), (-1.0, 0.0), (0.0, 1.0), (0.0, -1.0)].map(|(x, z)| {
        let extent = |along: f32| half * (2.0 - along.abs());
        ColliderBuilder::cuboid(extent(x), 2.0 * top, extent(z))
            .translation(Vector::new(2.0 * half * x, 0.0, 2.0 * half * z))
            .friction(FRICTION)
    })
}
