// Package report shows what a run came to: colour maps, overlays and
// side-by-side pictures, curves, a table per class, and all of it as one HTML
// file that needs nothing beside itself.
package report
