//! Curves, as SVG.

use std::fs;

use anyhow::{anyhow, Context, Result};
use plotters::prelude::*;

use super::report::{count, directory};

const SIZE: (u32, u32) = (640, 400);

const COLORS: [RGBColor; 4] = [BLUE, RED, BLACK, MAGENTA];

/// One curve: its name, and points that are all above 0.
pub type Curve<'a> = (&'a str, Vec<(f64, f64)>);

/// Writes `NAME.svg` beside the report: curves over a number of pages or the like, on logarithmic axes, where what grows
/// in proportion is a diagonal and what does not grow is level.
pub fn curves(name: &str, title: &str, x: &str, y: &str, curves: &[Curve]) -> Result<()> {
    let mut svg = String::new();
    draw(&mut svg, title, x, y, curves).map_err(|error| anyhow!("{name}.svg: {error}"))?;
    fs::create_dir_all(directory()).context("target/bench")?;
    fs::write(directory().join(format!("{name}.svg")), svg).context(name.to_owned())
}

fn draw(
    svg: &mut String,
    title: &str,
    x: &str,
    y: &str,
    curves: &[Curve],
) -> Result<(), Box<dyn std::error::Error>> {
    let all = || curves.iter().flat_map(|(_, points)| points);
    let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(64)
        .build_cartesian_2d(
            decades(all().map(|p| p.0)).log_scale(),
            decades(all().map(|p| p.1)).log_scale(),
        )?;
    chart
        .configure_mesh()
        .x_desc(x)
        .y_desc(y)
        .x_label_formatter(&|pages| count(*pages as u64))
        .light_line_style(WHITE)
        .draw()?;
    for (index, (name, points)) in curves.iter().enumerate() {
        let color = COLORS[index % COLORS.len()];
        chart
            .draw_series(
                LineSeries::new(points.iter().copied(), color.stroke_width(2)).point_size(3),
            )?
            .label(*name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color.stroke_width(2)));
    }
    chart.configure_series_labels().background_style(WHITE).border_style(BLACK).draw()?;
    root.present()?;
    Ok(())
}

/// From the power of ten below all to the one above.
fn decades(values: impl Iterator<Item = f64>) -> std::ops::Range<f64> {
    let (least, most) = values.fold((f64::MAX, f64::MIN), |(l, m), v| (l.min(v), m.max(v)));
    10_f64.powf(least.log10().floor())..10_f64.powf(most.log10().floor() + 1.0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_plot_has_its_curves_and_their_names() {
        let mut svg = String::new();
        let points = [1e3, 1e4, 1e5].map(|x| (x, 2.0)).to_vec();
        draw(&mut svg, "A title", "pages", "s", &[("ours", points.clone()), ("theirs", points)])
            .unwrap();
        for part in ["<svg", "A title", "pages", "ours", "theirs", "polyline", "</svg>"] {
            assert!(svg.contains(part), "{part} is not in {svg}");
        }
    }

    #[test]
    fn an_axis_holds_all_its_values() {
        assert_eq!(decades([20.0, 700.0].into_iter()), 10.0..1000.0);
        assert_eq!(decades([100.0].into_iter()), 100.0..1000.0);
    }
}
