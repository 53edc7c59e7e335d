//! Networks: described once as a graph of ops on shaped tensors; forward and backward plans are derived from it, with
//! buffers shared by liveness.

mod bridge;
mod build;
mod dense;
mod detector;
mod encoder;
mod graph;
mod head;
mod lifetimes;
mod memory;
pub mod ops;
mod optimizer;
mod torchvision;
mod training;
mod twin;
mod weights;

pub use bridge::BridgeNetwork;
pub use build::{InferencePlan, Pause};
pub use dense::{DenseEncoderConfig, Level, Skip};
pub use detector::{
    BoxTargets, DetectorConfig, DetectorHead, FasterRcnn, FasterRcnnLoss, FasterRcnnSlots, Proposing, RegionNodes, Yolo3, YoloBoxLoss,
    YoloLoss, YoloTargets,
};
pub use encoder::{Architecture, EncoderConfig, Modality, Sharing, Stage, TowerInputs};
pub use graph::{Graph, NodeId};
pub use head::{Head, Pooling};
pub use ops::{Backward, Forward, Halves, Host, Init, Keeps, Op, ParamKind, ParamSpec};
pub use optimizer::{Optimizer, OptimizerConfig, ScaleReadback, StepFactors};
pub use torchvision::import_torchvision;
pub(crate) use torchvision::parse_torchvision;
pub use training::TrainingPlan;
pub(crate) use weights::GRAPH_PREFIX;
pub use weights::{
    BridgeFile, DenseFile, DetectorFile, Manifest, Network, NetworkFile, NetworkManifest, SceneRecord, TensorMap, WeightFile, Weights,
    WeightsError,
};
