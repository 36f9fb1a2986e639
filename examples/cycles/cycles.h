/* Measures processor cycles of a generated model on a board; see cycles.c. */
#ifndef REIDFW_CYCLES_H
#define REIDFW_CYCLES_H

/* Runs the model `repeats` times and hands the lines of a cycles.csv to `print`, one call a line, line end included.
 *
 * board: its name as reidfw knows it, for example "NUCLEO-F401RE".
 * instructions: of one inference, "instructions" in portable_c_report.json of the benchmark of the same model.
 */
void cycles_measure(const char *board, unsigned long instructions, int repeats, void (*print)(const char *line));

#endif
