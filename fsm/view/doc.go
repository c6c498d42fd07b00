// Package view is the catalog's views: what columns each has, who may read it, from which rows it is made and along
// which index, and Select, which reads one page of one.
//
// It promises that pages follow each other by the values of their order, so that rows which come and go in between
// neither repeat nor hide others, and that one query reads a bounded number of rows.
package view
