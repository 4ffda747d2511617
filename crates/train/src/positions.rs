//! Where the tower's position embedding begins.

use model::{Llava, VisionConfig};
use tch::{Tensor, no_grad};

use crate::Error;

/// Sets the tower's position embedding to sines and cosines of column and row, times `amplitude`
/// (Vaswani et al. 2017, in two dimensions as ViTs without pre-training have them); the class token
/// gets zeros. A quarter of the width holds sines of the column, then cosines, then the same of the
/// row.
pub fn set_sine_cosine(model: &Llava, amplitude: f64) -> Result<(), Error> {
    let Some(vision) = &model.config().vision_config else {
        return Ok(());
    };
    let values = sine_cosine(vision, amplitude);
    let name = "position_embedding.weight";
    for (_, tensor) in model.parameters().iter().filter(|(n, _)| n.ends_with(name)) {
        let values = Tensor::f_from_slice(&values)?.f_view_as(tensor)?;
        no_grad(|| tensor.shallow_clone().f_copy_(&values))?;
    }
    Ok(())
}

fn sine_cosine(config: &VisionConfig, amplitude: f64) -> Vec<f32> {
    let (grid, hidden) = (config.grid(), config.hidden_size);
    let quarter = hidden / 4;
    let mut values = vec![0f32; hidden as usize];
    for cell in 0..grid * grid {
        let (row, column) = (cell / grid, cell % grid);
        let mut all = vec![0f32; hidden as usize];
        for i in 0..quarter {
            // Wavelengths from 2 pi to 200 pi patches: grids are small.
            let frequency = 100f64.powf(-(i as f64) / quarter as f64);
            let (x, y) = (column as f64 * frequency, row as f64 * frequency);
            for (block, value) in [x.sin(), x.cos(), y.sin(), y.cos()].into_iter().enumerate() {
                all[block * quarter as usize + i as usize] = (amplitude * value) as f32;
            }
        }
        values.extend(all);
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_has_its_own_embedding() {
        let config = VisionConfig {
            image_size: 32,
            patch_size: 8,
            hidden_size: 16,
            ..VisionConfig::default()
        };
        let values = sine_cosine(&config, 0.7);
        let rows: Vec<&[f32]> = values.chunks(16).collect();
        assert_eq!(rows.len(), 17);
        assert!(
            rows[0].iter().all(|v| *v == 0.0),
            "the class token is nowhere"
        );
        for i in 1..17 {
            assert!(rows[i].iter().all(|v| v.abs() <= 0.7 + 1e-6));
            for j in 1..i {
                assert_ne!(rows[i], rows[j]);
            }
        }
    }
}
