//! The tables of pages of text.

use comfy_table::{CellAlignment, Table, presets::NOTHING};

/// Returns a table without borders that has a header and no rows.
pub(super) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(header);
    table
}

/// Aligns columns to the right, by their indices.
pub(super) fn align_right(table: &mut Table, columns: impl IntoIterator<Item = usize>) {
    for index in columns {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}
