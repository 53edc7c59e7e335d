//! Every variant of every shader without a device: parsed, validated, translated, and held against the baseline's limits.
//!
//! What the validator proves of control flow: naga checks that derivatives and barriers are not used in control flow it knows
//! to be non-uniform (`ValidationFlags::CONTROL_FLOW_UNIFORMITY`), but its analysis takes storage reads and most built-ins as
//! it finds them and does not follow function calls fully. A barrier under a condition on a value it thinks uniform passes;
//! the twins' tests on devices with 8 and 32 lanes are what catches that.

use echogrid::gpu::shader::{BindingKind, Reflection, expand, reflect};
use echogrid::gpu::{ShaderSource, Variant};
use echogrid::kernels;
use naga::valid::{Capabilities, ValidationFlags, Validator};
use std::path::Path;

struct Family {
    source: ShaderSource,
    variants: Vec<Variant>,
    params: &'static [usize],
}

macro_rules! families {
    ($($stem:ident)*) => {
        vec![$(Family {
            source: kernels::$stem::SHADER,
            variants: kernels::$stem::variants(),
            params: kernels::$stem::PARAMS_BYTES,
        }),*]
    };
}

fn families() -> Vec<Family> {
    families!(activation bias binary_xent box_decode box_loss box_match bridge center concat conv critic discrepancy dropout elementwise fft gaussian infonce knn l2norm matmul message nms norm offset_xent optim peaks pool quantize reduce roi_align sampler score segment_softmax sinkhorn_online sinkhorn_small slide softmax_xent spectrum structure style suppress topk topk_long triplet upsample winograd)
}

fn each(mut f: impl FnMut(&Family, &Variant, &str, &Reflection)) {
    for family in families() {
        for v in &family.variants {
            let stem = family.source.stem;
            let wgsl = expand(&family.source, v).unwrap_or_else(|e| panic!("{e}"));
            let reflection = reflect(stem, &v.to_string(), &wgsl).unwrap_or_else(|e| panic!("{e}"));
            f(&family, v, &wgsl, &reflection);
        }
    }
}

#[test]
fn every_shader_has_its_five_files_and_is_in_the_list() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut stems: Vec<String> = std::fs::read_dir(root.join("shaders"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "wgsl"))
        .map(|p| p.file_stem().unwrap().to_str().unwrap().to_string())
        .collect();
    stems.sort();
    for stem in &stems {
        for folder in ["src/kernels", "src/reference", "kernels-tests", "benches"] {
            let path = root.join(folder).join(format!("{stem}.rs"));
            assert!(path.is_file(), "{} is missing", path.display());
        }
    }
    let mut listed: Vec<&str> = families().iter().map(|f| f.source.stem).collect();
    listed.sort_unstable();
    assert_eq!(listed, stems, "the list in kernels-tests/shaders.rs");
}

/// No capability but what a variant says it uses: f16 in its types, subgroup built-ins in its text, 64-bit integers, cooperative matrices.
#[test]
fn every_variant_validates_and_translates() {
    let mut count = 0;
    each(|family, v, wgsl, r| {
        let name = format!("{} [{v}]", family.source.stem);
        // `unpack2x16float` is part of WGSL without any feature.
        let mut caps = Capabilities::SHADER_FLOAT16_IN_FLOAT32;
        caps.set(Capabilities::SUBGROUP, wgsl.contains("subgroup"));
        caps.set(Capabilities::SHADER_FLOAT16, wgsl.contains("enable f16;"));
        caps.set(Capabilities::SHADER_INT64, wgsl.contains("u64"));
        let cooperative = wgsl.contains("enable wgpu_cooperative_matrix;");
        caps.set(Capabilities::COOPERATIVE_MATRIX, cooperative);
        let info = Validator::new(ValidationFlags::all(), caps)
            .subgroup_stages(naga::valid::ShaderStages::COMPUTE)
            .subgroup_operations(naga::valid::SubgroupOperationSet::all())
            .validate(&r.module)
            .unwrap_or_else(|e| panic!("{name}: {}", e.emit_to_string(wgsl)));
        let entry = (naga::ShaderStage::Compute, "main".to_string());

        let pipeline = naga::back::spv::PipelineOptions { shader_stage: entry.0, entry_point: entry.1.clone() };
        let words = naga::back::spv::write_vec(&r.module, &info, &naga::back::spv::Options::default(), Some(&pipeline))
            .unwrap_or_else(|e| panic!("{name} to SPIR-V: {e}"));
        assert_eq!(words[0], 0x0723_0203, "{name}: SPIR-V's magic number");

        // Metal has matrices of 8 x 8 alone, DX12 none.
        if cooperative && wgsl.contains("coop_mat16x16") {
            count += 1;
            return;
        }
        let options = naga::back::msl::Options { lang_version: (2, 4), ..Default::default() };
        let pipeline = naga::back::msl::PipelineOptions { entry_point: Some(entry.clone()), ..Default::default() };
        let (msl, told) =
            naga::back::msl::write_string(&r.module, &info, &options, &pipeline).unwrap_or_else(|e| panic!("{name} to MSL: {e}"));
        told.entry_point_names[0].as_ref().unwrap_or_else(|e| panic!("{name} to MSL: {e}"));
        assert!(msl.contains("kernel void"), "{name}: MSL without a kernel");

        if cooperative {
            count += 1;
            return;
        }
        let options = naga::back::hlsl::Options { shader_model: naga::back::hlsl::ShaderModel::V6_2, ..Default::default() };
        let pipeline = naga::back::hlsl::PipelineOptions { entry_point: Some(entry) };
        let mut hlsl = String::new();
        let told = naga::back::hlsl::Writer::new(&mut hlsl, &options, &pipeline)
            .write(&r.module, &info, None)
            .unwrap_or_else(|e| panic!("{name} to HLSL: {e}"));
        told.entry_point_names[0].as_ref().unwrap_or_else(|e| panic!("{name} to HLSL: {e}"));
        assert!(hlsl.contains("[numthreads("), "{name}: HLSL without an entry point");

        // OpenGL has neither feature.
        if !wgsl.contains("subgroup") && !wgsl.contains("enable f16;") {
            let (options, mut glsl) = (naga::back::glsl::Options::default(), String::new());
            let pipeline =
                naga::back::glsl::PipelineOptions { shader_stage: naga::ShaderStage::Compute, entry_point: "main".into(), multiview: None };
            naga::back::glsl::Writer::new(&mut glsl, &r.module, &info, &options, &pipeline, Default::default())
                .and_then(|mut w| w.write())
                .unwrap_or_else(|e| panic!("{name} to GLSL: {e}"));
            assert!(glsl.contains("void main()"), "{name}: GLSL without an entry point");
        }
        count += 1;
    });
    assert!(count > 100, "{count} variants");
}

/// Workgroup memory, invocations and storage buffers within `Limits::default()`; bindings dense (reflection refuses others)
/// with the parameters last.
#[test]
fn every_variant_fits_the_baseline() {
    let limits = wgpu::Limits::default();
    each(|family, v, _, r| {
        let name = format!("{} [{v}]", family.source.stem);
        assert!(r.workgroup_bytes <= limits.max_compute_workgroup_storage_size, "{name}: {} bytes", r.workgroup_bytes);
        let size = r.workgroup_size;
        let most = [limits.max_compute_workgroup_size_x, limits.max_compute_workgroup_size_y, limits.max_compute_workgroup_size_z];
        assert!(size.iter().product::<u32>() <= limits.max_compute_invocations_per_workgroup, "{name}: {size:?}");
        assert!(size.iter().zip(most).all(|(a, b)| *a <= b), "{name}: {size:?}");
        let uniforms = r.bindings.iter().filter(|b| matches!(b.1, BindingKind::Uniform(_))).count();
        let textures = r.bindings.iter().filter(|b| b.1 == BindingKind::TextureArray).count();
        let storage = r.bindings.len() - uniforms - textures;
        assert!(storage <= limits.max_storage_buffers_per_shader_stage as usize, "{name}: {storage} storage buffers");
        assert!(r.bindings.iter().any(|b| b.1 == BindingKind::ReadWrite), "{name} writes nothing");
        assert!(uniforms <= 1, "{name}: {uniforms} uniforms");
        if uniforms == 1 {
            let (last, kind) = r.bindings.last().unwrap();
            assert!(
                last == "params" && matches!(kind, BindingKind::Uniform(_)),
                "{name}: the last binding is `{last}`, not the parameters"
            );
        }
    });
}

/// The uniform's size is the host's; its members are 32-bit scalars without a gap, as the host's `repr(C)` words are.
#[test]
fn parameters_are_laid_out_as_the_hosts() {
    each(|family, v, _, r| {
        let name = format!("{} [{v}]", family.source.stem);
        for (_, kind) in &r.bindings {
            if let BindingKind::Uniform(bytes) = kind {
                assert!(
                    family.params.contains(&(*bytes as usize)),
                    "{name}: {bytes} bytes of parameters, the host has {:?}",
                    family.params
                );
            }
        }
        for (_, var) in r.module.global_variables.iter().filter(|(_, g)| g.space == naga::AddressSpace::Uniform) {
            let naga::TypeInner::Struct { members, .. } = &r.module.types[var.ty].inner else { panic!("{name}: parameters are no struct") };
            for (i, m) in members.iter().enumerate() {
                let scalar = matches!(&r.module.types[m.ty].inner, naga::TypeInner::Scalar(s) if s.width == 4);
                assert!(scalar && m.offset as usize == 4 * i, "{name}: `{}` at {}", m.name.as_deref().unwrap_or("?"), m.offset);
            }
        }
    });
}
